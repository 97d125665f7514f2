// The published files of the multiple choice tasks.
#include <algorithm>
#include <charconv>
#include <functional>

#include "core/error.h"
#include "eval/choices.h"
#include "eval/text_set.h"
#include "runtime/json_fields.h"

namespace moiety::eval {
namespace {

std::string required(JsonFields& f, std::string_view key) {
  const auto value = f.string(key);
  if (!value) fail(Status::kFormat, "{}: {} is missing", f.subject(), key);
  return *value;
}

void set_answer(ChoiceItem& item, int64_t answer, const std::string& subject) {
  if (answer < 0 || answer >= static_cast<int64_t>(item.choices.size())) {
    fail(Status::kFormat, "{}: the answer is number {} of {} choices", subject, answer, item.choices.size());
  }
  item.correct.assign(item.choices.size(), false);
  item.correct[static_cast<size_t>(answer)] = true;
}

int64_t number(std::string_view text, const std::string& subject) {
  int64_t value = 0;
  while (text.ends_with('\r') || text.ends_with(' ')) text.remove_suffix(1);
  const auto [end, code] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (code != std::errc() || end != text.data() + text.size()) {
    fail(Status::kFormat, "{}: expected the number of a choice, got '{}'", subject, printable(text));
  }
  return value;
}

// A label that is a number or its text; `otherwise` for items without one.
int64_t label(JsonFields& f, std::string_view key, std::optional<int64_t> otherwise) {
  if (otherwise) return *otherwise;
  if (!f.present(key)) fail(Status::kFormat, "{}: {} is missing", f.subject(), key);
  const std::string raw = f.raw(key);
  return raw.starts_with('"') ? number(required(f, key), f.subject()) : f.count(key);
}

ChoiceItem copa(JsonFields& f, std::optional<int64_t> answer) {
  ChoiceItem item{{{"premise", required(f, "premise")}, {"question", required(f, "question")}}, {required(f, "choice1"), required(f, "choice2")}, {}};
  set_answer(item, label(f, "label", answer), f.subject());
  return item;
}

ChoiceItem hellaswag(JsonFields& f, std::optional<int64_t> answer) {
  ChoiceItem item{{{"activity", f.string("activity_label").value_or("")}, {"context", required(f, "ctx")}}, f.strings("endings").value_or(std::vector<std::string>{}), {}};
  set_answer(item, label(f, "label", answer), f.subject());
  return item;
}

ChoiceItem piqa(JsonFields& f, std::optional<int64_t> answer) {
  ChoiceItem item{{{"goal", required(f, "goal")}}, {required(f, "sol1"), required(f, "sol2")}, {}};
  set_answer(item, label(f, "label", answer), f.subject());
  return item;
}

ChoiceItem winogrande(JsonFields& f, std::optional<int64_t> answer) {
  const std::string sentence = required(f, "sentence");
  const size_t gap = sentence.find('_');
  if (gap == std::string::npos) fail(Status::kFormat, "{}: sentence has no _", f.subject());
  ChoiceItem item{{{"before", sentence.substr(0, gap)}, {"after", sentence.substr(gap + 1)}}, {required(f, "option1"), required(f, "option2")}, {}};
  set_answer(item, answer ? *answer : label(f, "answer", {}) - 1, f.subject());
  return item;
}

ChoiceItem boolq(JsonFields& f, std::optional<int64_t> answer) {
  ChoiceItem item{{{"passage", required(f, "passage")}, {"question", required(f, "question")}, {"title", f.string("title").value_or("")}}, {"no", "yes"}, {}};
  const auto told = f.present("label") ? f.boolean("label") : f.boolean("answer");
  if (!answer && !told) fail(Status::kFormat, "{}: answer is missing", f.subject());
  set_answer(item, answer ? *answer : *told, f.subject());
  return item;
}

// OpenBookQA and ARC: labels are letters or digits of the choices.
ChoiceItem question(JsonFields& f, std::optional<int64_t> answer) {
  auto q = f.object("question");
  if (!q) fail(Status::kFormat, "{}: question is missing", f.subject());
  ChoiceItem item{{{"question", required(*q, "stem")}}, {}, {}};
  const std::string key = answer ? "" : required(f, "answerKey");
  int64_t right = answer.value_or(-1);
  for (JsonFields& choice : q->objects("choices")) {
    if (!answer && required(choice, "label") == key) right = static_cast<int64_t>(item.choices.size());
    item.choices.push_back(required(choice, "text"));
  }
  set_answer(item, right, f.subject());
  return item;
}

// ReCoRD: the entities of a passage fill the gap of each of its queries; all spellings of the answer are right.
void record(JsonFields& f, std::vector<ChoiceItem>& out) {
  auto passage = f.object("passage");
  if (!passage) fail(Status::kFormat, "{}: passage is missing", f.subject());
  const std::string text = required(*passage, "text");
  std::vector<size_t> starts;  // of the characters; positions in the file count code points
  for (size_t i = 0; i < text.size(); ++i) {
    if ((static_cast<unsigned char>(text[i]) & 0xC0) != 0x80) starts.push_back(i);
  }
  starts.push_back(text.size());
  std::vector<std::string> entities;
  for (JsonFields& entity : passage->objects("entities")) {
    const int begin = entity.count("start"), end = entity.count("end");  // the last character's place
    if (begin < 0 || end < begin || static_cast<size_t>(end) + 1 >= starts.size()) {
      fail(Status::kFormat, "{}: an entity at {} to {} of {} characters", f.subject(), begin, end, starts.size() - 1);
    }
    const size_t at = starts[static_cast<size_t>(begin)];
    const std::string name = text.substr(at, starts[static_cast<size_t>(end) + 1] - at);
    if (std::ranges::find(entities, name) == entities.end()) entities.push_back(name);
  }
  std::string clean = text;
  for (size_t at; (at = clean.find("@highlight")) != std::string::npos;) clean.replace(at, 10, "-");
  for (JsonFields& qa : f.objects("qas")) {
    const std::string query = required(qa, "query");
    const size_t gap = query.find("@placeholder");
    if (gap == std::string::npos) fail(Status::kFormat, "{}: a query has no @placeholder", f.subject());
    ChoiceItem item{{{"passage", clean}, {"before", query.substr(0, gap)}, {"after", query.substr(gap + 12)}}, entities, {}};
    item.correct.assign(entities.size(), false);
    for (JsonFields& answer : qa.objects("answers")) {
      const auto it = std::ranges::find(entities, required(answer, "text"));
      if (it != entities.end()) item.correct[static_cast<size_t>(it - entities.begin())] = true;
    }
    if (std::ranges::find(item.correct, true) == item.correct.end()) fail(Status::kFormat, "{}: no answer is an entity of the passage", f.subject());
    out.push_back(std::move(item));
  }
}

// RFC 4180: fields with quotes may hold commas, quotes twice, and line ends.
std::vector<std::vector<std::string>> read_csv(std::string_view text, const std::string& name) {
  std::vector<std::vector<std::string>> rows;
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  for (size_t i = 0; i < text.size();) {
    auto& row = rows.emplace_back();
    for (bool more = true; more;) {
      std::string& field = row.emplace_back();
      if (i < text.size() && text[i] == '"') {
        for (++i;; ++i) {
          if (i >= text.size()) fail(Status::kFormat, "{}: row {}: a quote is open", name, rows.size());
          if (text[i] == '"' && (i + 1 >= text.size() || text[i + 1] != '"')) break;
          if (text[i] == '"') ++i;
          field += text[i];
        }
        ++i;
      }
      while (i < text.size() && text[i] != ',' && text[i] != '\n') field += text[i++];
      if (field.ends_with('\r')) field.pop_back();
      more = i < text.size() && text[i] == ',';
      if (i < text.size()) ++i;
    }
  }
  return rows;
}

std::vector<ChoiceItem> storycloze(std::string_view text, const std::string& name) {
  std::vector<ChoiceItem> out;
  const auto rows = read_csv(text, name);
  for (size_t r = 1; r < rows.size(); ++r) {  // a head: InputStoryid, InputSentence1 to 4, two endings, AnswerRightEnding
    const auto& row = rows[r];
    const std::string subject = fmt::format("{}: row {}", name, r + 1);
    if (row.size() != 8) fail(Status::kFormat, "{}: {} fields, expected 8", subject, row.size());
    ChoiceItem item{{{"story", fmt::format("{} {} {} {}", row[1], row[2], row[3], row[4])}}, {row[5], row[6]}, {}};
    set_answer(item, number(row[7], subject) - 1, subject);
    out.push_back(std::move(item));
  }
  return out;
}

std::vector<std::string_view> lines_of(std::string_view text) {
  std::vector<std::string_view> lines;
  for (size_t at = 0; at < text.size();) {
    const size_t end = std::min(text.find('\n', at), text.size());
    lines.push_back(text.substr(at, end - at));
    at = end + 1;
  }
  return lines;
}

struct Task {
  std::string_view name;
  ChoiceItem (*read)(JsonFields&, std::optional<int64_t>);
};
constexpr Task kTasks[] = {{"copa", copa},         {"hellaswag", hellaswag}, {"piqa", piqa},   {"winogrande", winogrande},
                           {"openbookqa", question}, {"arc", question},      {"boolq", boolq}, {"record", nullptr}};

}  // namespace

std::vector<ChoiceItem> read_choice_items(std::string_view task, const std::filesystem::path& path, const std::filesystem::path& labels) {
  const std::string text = read_text(path), name = printable(path.filename().string());
  std::vector<ChoiceItem> out;
  if (task == "storycloze") {
    out = storycloze(text, name);
  } else {
    const auto known = std::ranges::find(kTasks, task, &Task::name);
    if (known == std::end(kTasks)) {
      fail(Status::kInvalidArgument, "task '{}' is not known (copa, record, hellaswag, piqa, winogrande, storycloze, openbookqa, arc, boolq)", printable(task));
    }
    const std::string label_text = labels.empty() ? std::string() : read_text(labels);
    const auto answers = lines_of(label_text);
    simdjson::dom::parser parser;
    size_t line_number = 0, items = 0;
    for (std::string_view line : lines_of(text)) {
      const std::string subject = fmt::format("{}: line {}", name, ++line_number);
      if (line.find_first_not_of(" \t\r") == std::string_view::npos) continue;
      simdjson::dom::object object;
      if (const auto error = parser.parse(line.data(), line.size()).get(object)) {
        fail(Status::kFormat, "{}: is no JSON object: {}", subject, simdjson::error_message(error));
      }
      JsonFields fields(object, subject);
      std::optional<int64_t> answer;
      if (!labels.empty()) {
        if (items >= answers.size()) fail(Status::kFormat, "{}: has only {} lines", printable(labels.filename().string()), answers.size());
        answer = number(answers[items], fmt::format("{}: line {}", printable(labels.filename().string()), items + 1));
      }
      ++items;
      if (known->read) out.push_back(known->read(fields, answer));
      else record(fields, out);
    }
  }
  if (out.empty()) fail(Status::kFormat, "{}: no item in it", name);
  return out;
}

}  // namespace moiety::eval
