#include "runtime/scheduler.h"

#include <algorithm>
#include <unordered_set>

namespace moiety {

Scheduler::Scheduler(const Model& model) : model_(model), executor_(model.threads()) {}

void Scheduler::submit(Session& session, std::span<const int32_t> tokens, Want want, LogitsSink sink) {
  if (&session.model() != &model_) fail(Status::kInvalidArgument, "the session belongs to another model");
  if (session.status() != Status::kOk) fail(session.status(), "{}", session.message());
  if (tokens.empty()) fail(Status::kInvalidArgument, "no tokens to run");
  for (size_t i = 0; i < tokens.size(); ++i) {
    if (tokens[i] < 0 || tokens[i] >= model_.config().vocab) {
      fail(Status::kInvalidArgument, "token {} is {}, expected 0 to {}", i, tokens[i], model_.config().vocab - 1);
    }
  }
  size_t queued = 0;
  for (const Entry& entry : entries_) {
    if (entry.session == &session) queued += entry.tokens.size() - entry.done;
  }
  const auto room = static_cast<size_t>(session.room());
  if (queued > room || tokens.size() > room - queued) {
    fail(Status::kContextFull, "context is full: {} tokens in a context of {}, {} more do not fit",
         static_cast<size_t>(session.position()) + queued, session.capacity(), tokens.size());
  }
  entries_.push_back({&session, {tokens.begin(), tokens.end()}, 0, want, std::move(sink)});
}

void Scheduler::drop(const Session& session) {
  std::erase_if(entries_, [&](const Entry& entry) { return entry.session == &session; });
}

std::vector<Scheduler::Part> Scheduler::choose() const {
  std::vector<Part> parts;
  std::unordered_set<const Session*> busy;  // one entry of a session at a time: its rows must be contiguous
  int64_t room = model_.max_rows();
  // A prompt holds back the entries behind it of its own session: those are no decoding yet.
  std::unordered_set<const Session*> prompts;
  for (const Entry& entry : entries_) {
    if (entry.tokens.size() - entry.done > 1) prompts.insert(entry.session);
  }
  for (size_t i = 0; i < entries_.size() && room > 0; ++i) {
    if (prompts.contains(entries_[i].session) || !busy.insert(entries_[i].session).second) continue;
    parts.push_back({i, 1});
    --room;
  }
  for (size_t i = 0; i < entries_.size() && room > 0; ++i) {
    if (!busy.insert(entries_[i].session).second) continue;
    const size_t count = std::min(entries_[i].tokens.size() - entries_[i].done, static_cast<size_t>(room));
    parts.push_back({i, count});
    room -= static_cast<int64_t>(count);
  }
  return parts;
}

void Scheduler::fill(const std::vector<Part>& parts) {
  batch_.ids.clear(), batch_.positions.clear(), batch_.spans.clear(), batch_.wanted.clear();
  for (const Part& part : parts) {
    const Entry& entry = entries_[part.entry];
    const auto row = static_cast<int32_t>(batch_.ids.size());
    const int position = entry.session->position();
    batch_.spans.push_back({&entry.session->cache(), row, static_cast<int32_t>(part.count), position});
    for (size_t i = 0; i < part.count; ++i) {
      batch_.ids.push_back(entry.tokens[entry.done + i]);
      batch_.positions.push_back(position + static_cast<int32_t>(i));
      const bool last = entry.done + i + 1 == entry.tokens.size();
      if (entry.want == Want::kAll || (entry.want == Want::kLast && last)) {
        batch_.wanted.push_back(row + static_cast<int32_t>(i));
      }
    }
  }
}

bool Scheduler::failed(const Entry& entry, const Span& span) {
  for (int32_t i = 0; i < span.count; ++i) {
    const auto row = static_cast<size_t>(span.row + i);
    const int32_t node = batch_.status[row].failed_node;
    if (node < 0) continue;
    entry.session->fail_with(
        Status::kNumeric,
        fmt::format("{}: a router logit of token {} at position {} is not finite",
                    model_.graph().nodes()[static_cast<size_t>(node)].name, batch_.ids[row], batch_.positions[row]));
    return true;
  }
  return false;
}

void Scheduler::deliver(const std::vector<Part>& parts, const Tensor& logits) {
  std::vector<const Session*> lost;
  for (size_t p = 0; p < parts.size(); ++p) {
    Entry& entry = entries_[parts[p].entry];
    const Span& span = batch_.spans[p];
    if (failed(entry, span)) {
      lost.push_back(entry.session);
      continue;
    }
    entry.session->append(std::span(entry.tokens).subspan(entry.done, parts[p].count));
    entry.done += parts[p].count;
    const auto first = std::lower_bound(batch_.wanted.begin(), batch_.wanted.end(), span.row);
    const auto end = std::lower_bound(first, batch_.wanted.end(), span.row + span.count);
    for (auto it = first; it != end; ++it) {
      const std::span<const float> row(reinterpret_cast<const float*>(logits.row(it - batch_.wanted.begin())),
                                       static_cast<size_t>(logits.cols()));
      if (it + 1 == end) entry.session->logits_.assign(row.begin(), row.end());
      if (entry.sink) entry.sink(batch_.positions[static_cast<size_t>(*it)], row);
    }
  }
  std::erase_if(entries_, [&](const Entry& entry) {
    return entry.done == entry.tokens.size() || std::ranges::find(lost, entry.session) != lost.end();
  });
}

bool Scheduler::step(const CancelToken* cancel) {
  const std::vector<Part> parts = choose();
  if (parts.empty()) return false;
  fill(parts);
  const std::scoped_lock lock(model_.step_mutex());
  const Plan& plan = model_.plan(batch_.tokens());
  const Tensor logits = executor_.run(plan, batch_, cancel, observer_ ? &observer_ : nullptr);
  deliver(parts, logits);
  return true;
}

}  // namespace moiety
