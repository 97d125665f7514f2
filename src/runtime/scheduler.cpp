#include "runtime/scheduler.h"

#include <algorithm>
#include <unordered_set>
#include <utility>

namespace moiety {

Scheduler::Scheduler(const Model& model) : model_(model), executor_(model.threads()) {}

void Scheduler::check(const Request& request) const {
  const Session& session = *request.session;
  if (&session.model() != &model_) fail(Status::kInvalidArgument, "the session belongs to another model");
  if (session.status() != Status::kOk) fail(session.status(), "{}", session.message());
  if (request.tokens.empty()) fail(Status::kInvalidArgument, "no tokens to run");
  size_t queued = 0, wanted = 0;
  for (const Entry& entry : entries_) {
    if (entry.session != &session) continue;
    queued += static_cast<size_t>(std::count_if(entry.tokens.begin() + static_cast<std::ptrdiff_t>(entry.done),
                                                entry.tokens.end(), [&](int32_t id) { return !is_pad(id); }));
  }
  for (size_t i = 0; i < request.tokens.size(); ++i) {
    const int32_t id = request.tokens[i];
    if (id < 0 || id >= model_.config().vocab) {
      fail(Status::kInvalidArgument, "token {} is {}, expected 0 to {}", i, id, model_.config().vocab - 1);
    }
    wanted += !is_pad(id);
    if (is_pad(id) && wanted + queued + static_cast<size_t>(session.position()) == 0)
      fail(Status::kInvalidArgument, "token {} is a pad ({}) that no token comes before", i, id);
  }
  const auto room = static_cast<size_t>(session.room());
  if (queued > room || wanted > room - queued) {
    fail(Status::kContextFull, "context is full: {} tokens in a context of {}, {} more do not fit",
         static_cast<size_t>(session.position()) + queued, session.capacity(), wanted);
  }
}

void Scheduler::submit(std::span<const Request> group) {
  size_t rows = 0;
  for (size_t i = 0; i < group.size(); ++i) {
    check(group[i]);
    rows += group[i].tokens.size();
    for (size_t j = 0; j < i; ++j) {
      if (group[j].session == group[i].session) fail(Status::kInvalidArgument, "a gating group names a session twice");
    }
  }
  if (model_.whole_groups() && rows > static_cast<size_t>(model_.max_rows())) {
    fail(Status::kInvalidArgument,
         "the gating group has {} tokens, a step {} rows: gates with capacities need the whole group in one step; raise "
         "the step (-b, -ub), or use the gate nodrop",
         rows, model_.max_rows());
  }
  ++groups_;
  for (const Request& r : group)
    entries_.push_back({r.session, {r.tokens.begin(), r.tokens.end()}, 0, r.want, r.sink, groups_});
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

// Whole groups in order, as many as fit; one of a session at a time.
std::vector<Scheduler::Part> Scheduler::choose_groups() const {
  std::vector<Part> parts;
  std::unordered_set<const Session*> busy;
  auto room = static_cast<size_t>(model_.max_rows());
  for (size_t first = 0, end = 0; first < entries_.size(); first = end) {
    size_t rows = 0;
    bool waits = false;
    for (; end < entries_.size() && entries_[end].group == entries_[first].group; ++end) {
      rows += entries_[end].tokens.size();
      waits |= !busy.insert(entries_[end].session).second;
    }
    if (waits || rows > room) continue;
    for (size_t i = first; i < end; ++i) parts.push_back({i, entries_[i].tokens.size()});
    room -= rows;
  }
  return parts;
}

void Scheduler::add_rows(const Entry& entry, size_t count) {
  int32_t position = entry.session->position();
  for (size_t i = 0; i < count; ++i) {
    const int32_t id = entry.tokens[entry.done + i];
    const auto row = static_cast<int32_t>(batch_.ids.size());
    Span* last = i > 0 ? &batch_.spans.back() : nullptr;
    if (is_pad(id)) batch_.spans.push_back({&entry.session->cache(), row, 1, position - 1, true, entry.session->number()});
    else if (last && !last->pad) ++last->count;
    else batch_.spans.push_back({&entry.session->cache(), row, 1, position, false, entry.session->number()});
    batch_.ids.push_back(id);
    batch_.positions.push_back(is_pad(id) ? kPadPosition : position++);
    const bool final = entry.done + i + 1 == entry.tokens.size();
    if (entry.want == Want::kAll || (entry.want == Want::kLast && final)) batch_.wanted.push_back(row);
  }
}

void Scheduler::fill(const std::vector<Part>& parts) {
  batch_.ids.clear(), batch_.positions.clear(), batch_.spans.clear(), batch_.wanted.clear(), batch_.groups.clear();
  uint64_t group = 0;
  for (const Part& part : parts) {
    const Entry& entry = entries_[part.entry];
    if (entry.group != group) batch_.groups.push_back({static_cast<int32_t>(batch_.ids.size()), 0});
    group = entry.group;
    add_rows(entry, part.count);
    batch_.groups.back().count = static_cast<int32_t>(batch_.ids.size()) - batch_.groups.back().row;
  }
}

bool Scheduler::failed(const Entry& entry, size_t first, size_t count) {
  for (size_t row = first; row < first + count; ++row) {
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
  size_t row_of_part = 0;
  for (const Part& part : parts) {
    Entry& entry = entries_[part.entry];
    const size_t begin = std::exchange(row_of_part, row_of_part + part.count);
    if (failed(entry, begin, part.count)) {
      lost.push_back(entry.session);
      continue;
    }
    for (const int32_t id : std::span(entry.tokens).subspan(entry.done, part.count)) {
      if (!is_pad(id)) entry.session->append({&id, 1});
    }
    entry.done += part.count;
    const auto first = std::lower_bound(batch_.wanted.begin(), batch_.wanted.end(), static_cast<int32_t>(begin));
    const auto end = std::lower_bound(first, batch_.wanted.end(), static_cast<int32_t>(begin + part.count));
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
  const std::vector<Part> parts = model_.whole_groups() ? choose_groups() : choose();
  if (parts.empty()) return false;
  fill(parts);
  Tensor logits;
  {
    const std::scoped_lock lock(model_.step_mutex());
    logits = executor_.run(model_.plan(batch_.tokens()), batch_, cancel, observer_ ? &observer_ : nullptr);
  }
  deliver(parts, logits);  // unlocked: a sink may use the model
  return true;
}

}  // namespace moiety
