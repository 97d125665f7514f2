#include "eval/choices.h"

#include <algorithm>
#include <numeric>

#include "eval/text_set.h"
#include "runtime/json_fields.h"

namespace moiety::eval {
namespace {

std::string filtered(std::string text, std::string_view filter, std::string_view part) {
  if (filter == "end") {
    while (text.ends_with('.') || text.ends_with(' ')) text.pop_back();
  } else if (filter == "lower") {
    if (!text.empty() && text[0] >= 'A' && text[0] <= 'Z') text[0] = static_cast<char>(text[0] - 'A' + 'a');
  } else if (!filter.empty()) {
    fail(Status::kFormat, "template '{}': unknown filter '{}'", printable(part), printable(filter));
  }
  return text;
}

// A counter-based generator: splitmix64 over (seed, draw, i).
uint64_t random_bits(uint64_t seed, uint64_t draw, uint64_t i) {
  uint64_t x = seed * 0x9E3779B97F4A7C15u + draw * 0xBF58476D1CE4E5B9u + (i + 1) * 0x94D049BB133111EBu;
  for (uint64_t factor : {0xBF58476D1CE4E5B9u, 0x94D049BB133111EBu}) x = (x ^ (x >> 29)) * factor;
  return x ^ (x >> 32);
}

}  // namespace

ChoiceTemplate read_choice_template(std::string_view json, const std::string& subject, std::string_view task) {
  simdjson::dom::parser parser;
  simdjson::dom::object root;
  if (const auto error = parser.parse(json.data(), json.size()).get(root)) {
    fail(Status::kFormat, "{}: is no JSON object: {}", subject, simdjson::error_message(error));
  }
  auto tasks = JsonFields(root, subject).object("tasks");
  if (!tasks) fail(Status::kFormat, "{}: tasks is missing", subject);
  auto f = tasks->object(task);
  if (!f) fail(Status::kInvalidArgument, "{}: has no template for '{}'", subject, printable(task));
  ChoiceTemplate t;
  const auto context = f->string("context"), target = f->string("target");
  if (!context || !target) fail(Status::kFormat, "{}: context or target is missing", f->subject());
  t.context = *context, t.target = *target;
  t.suffix_context = f->string("suffix_context").value_or(""), t.suffix_target = f->string("suffix_target").value_or("");
  t.unconditional = f->string("unconditional").value_or(t.unconditional);
  t.separator = f->string("separator").value_or(t.separator);
  if (auto values = f->object("values")) {
    for (const std::string& field : values->unused()) {
      auto map = values->object(field);
      for (const std::string& value : map->unused()) t.values[field][value] = map->string(value).value_or("");
    }
  }
  if (const auto unknown = f->unused(); !unknown.empty()) {
    fail(Status::kFormat, "{}: unknown key '{}'", f->subject(), printable(unknown.front()));
  }
  return t;
}

std::string fill_template(const ChoiceTemplate& t, std::string_view part, const ChoiceItem& item, size_t choice) {
  std::string out;
  for (size_t at = 0; at < part.size();) {
    const size_t open = std::min(part.find('{', at), part.size()), close = part.find('}', open);
    out += part.substr(at, open - at);
    if (open == part.size()) break;
    if (close == std::string_view::npos) fail(Status::kFormat, "template '{}': a brace is open", printable(part));
    std::string_view name = part.substr(open + 1, close - open - 1), filter;
    if (const size_t bar = name.find('|'); bar != std::string_view::npos) filter = name.substr(bar + 1), name = name.substr(0, bar);
    std::string text;
    if (name == "choice") {
      text = item.choices[choice];
    } else {
      const auto field = item.fields.find(std::string(name));
      if (field == item.fields.end()) fail(Status::kFormat, "template '{}': the item has no '{}'", printable(part), printable(name));
      text = field->second;
    }
    if (const auto map = t.values.find(std::string(name)); map != t.values.end()) {
      if (const auto value = map->second.find(text); value != map->second.end()) text = value->second;
    }
    out += filtered(std::move(text), filter, part);
    at = close + 1;
  }
  return out;
}

const char* scoring_name(Scoring scoring) {
  constexpr const char* kNames[] = {"sum", "mean", "unconditional", "suffix"};
  return kNames[static_cast<size_t>(scoring)];
}

double ChoiceScore::value(Scoring scoring) const {
  switch (scoring) {
    case Scoring::kSum: return sum;
    case Scoring::kMean: return tokens > 0 ? sum / tokens : 0;
    case Scoring::kUnconditional: return sum - unconditional;
    case Scoring::kSuffix: return suffix;
  }
  return sum;
}

ChoiceScorer::ChoiceScorer(Scorer& scorer, const Tokenizer& tokenizer, const ChoiceTemplate& t, bool unconditional, bool suffix)
    : scorer_(scorer), tokenizer_(tokenizer), template_(t), unconditional_(unconditional), suffix_(suffix) {
  if (suffix && t.suffix_target.empty()) fail(Status::kInvalidArgument, "the task's template has no shared suffix");
}

double ChoiceScorer::log_probability(std::string context, std::string target, double* tokens, const CancelToken* cancel) {
  while (context.ends_with(' ')) {
    context.pop_back();
    if (!target.starts_with(' ')) target.insert(0, " ");
  }
  const std::vector<int32_t> alone = tokenizer_.encode(context);
  std::vector<int32_t> ids = tokenizer_.encode(context + target);
  size_t first = 0;  // of the target: where the ids stop being the context's
  while (first < alone.size() && first < ids.size() && alone[first] == ids[first]) ++first;
  const auto start = start_token(tokenizer_);
  if (start && (first == 0 || tokenizer_.adds_bos())) ids.insert(ids.begin(), *start), ++first;
  first = std::max<size_t>(first, 1);
  if (first >= ids.size()) return 0;
  if (ids.size() > scorer_.longest()) {
    const size_t lost = ids.size() - scorer_.longest();
    if (lost >= first) fail(Status::kContextFull, "a choice has {} tokens, the context {}", ids.size() - first, scorer_.longest() - 1);
    ids.erase(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(lost));
    first -= lost;
    ++cut_;
  }
  const std::vector<double> scores = scorer_.score(ids, first, 0, cancel);
  if (tokens) *tokens = static_cast<double>(scores.size());
  return std::accumulate(scores.begin(), scores.end(), 0.0);
}

std::vector<ChoiceScore> ChoiceScorer::score(const ChoiceItem& item, const std::string& shots, const CancelToken* cancel) {
  const ChoiceTemplate& t = template_;
  std::vector<ChoiceScore> out(item.choices.size());
  const auto part = [&](const std::string& text, size_t c) { return fill_template(t, text, item, c); };
  for (size_t c = 0; c < out.size(); ++c) {
    out[c].sum = log_probability(shots + part(t.context, c), part(t.target, c), &out[c].tokens, cancel);
  }
  for (size_t c = 0; c < out.size() && unconditional_; ++c) {
    out[c].unconditional = log_probability(t.unconditional, part(t.target, c), nullptr, cancel);
  }
  for (size_t c = 0; c < out.size() && suffix_; ++c) {
    out[c].suffix = log_probability(shots + part(t.suffix_context, c), part(t.suffix_target, c), nullptr, cancel);
  }
  return out;
}

std::vector<size_t> draw_examples(size_t pool, size_t count, uint64_t seed, uint64_t draw, std::optional<size_t> except) {
  std::vector<size_t> order;
  for (size_t i = 0; i < pool; ++i) {
    if (i != except) order.push_back(i);
  }
  if (count > order.size()) fail(Status::kInvalidArgument, "{} examples of {} that there are", count, order.size());
  for (size_t i = 0; i < count; ++i) {
    std::swap(order[i], order[i + random_bits(seed, draw, i) % (order.size() - i)]);
  }
  order.resize(count);
  return order;
}

std::string shots_text(const ChoiceTemplate& t, const std::vector<ChoiceItem>& pool, const std::vector<size_t>& examples) {
  std::string out;
  for (size_t i : examples) {
    const auto choice = static_cast<size_t>(std::ranges::find(pool[i].correct, true) - pool[i].correct.begin());
    out += fill_template(t, t.context, pool[i], choice) + fill_template(t, t.target, pool[i], choice) + t.separator;
  }
  return out;
}

size_t chosen(const std::vector<ChoiceScore>& scores, Scoring scoring) {
  size_t best = 0;
  for (size_t c = 1; c < scores.size(); ++c) {
    if (scores[c].value(scoring) > scores[best].value(scoring)) best = c;
  }
  return best;
}

}  // namespace moiety::eval
