// The tasks' published forms: hand-made items in tests/eval/choices, with the scores that transformers gives
// (check_choices.py writes expected.json; it follows the model that ships).
#include <doctest/doctest.h>

#include <nlohmann/json.hpp>
#include <cmath>
#include <set>

#include "eval/choices.h"
#include "eval/compare.h"
#include "eval/text_set.h"
#include "runtime/load.h"
#include "tests/models/golden.h"
#include "tests/runtime/model_files.h"
#include "tests/support/status.h"

using namespace moiety;
using namespace moiety::eval;

namespace {

const std::filesystem::path kRoot = MOIETY_SOURCE_DIR;
const std::filesystem::path kItems = kRoot / "tests" / "eval" / "choices";

std::vector<ChoiceItem> items_of(const std::string& task) {
  const std::string file = task + (task == "storycloze" ? ".csv" : ".jsonl");
  return read_choice_items(task, kItems / file, task == "piqa" ? kItems / "piqa-labels.lst" : std::filesystem::path());
}

ChoiceTemplate template_of(const std::string& task) {
  return read_choice_template(test::read_file(kRoot / "templates" / "choices.json"), "choices.json", task);
}

}  // namespace

TEST_CASE("scores of every task are those of transformers") {
  ModelOptions options;
  options.activations = ActivationPrecision::kF32;
  const auto model = load_model(kRoot / "models" / "stories-12m", options);
  Scorer scorer(*model);
  const auto expected = nlohmann::json::parse(test::read_file(kItems / "expected.json"));
  CHECK(expected.size() == 9);
  for (const auto& [task, scores] : expected.items()) {
    CAPTURE(task);
    const auto items = items_of(task);
    const ChoiceTemplate form = template_of(task);
    const bool suffix = !form.suffix_target.empty();
    ChoiceScorer choices(scorer, *model->tokenizer(), form, true, suffix);
    REQUIRE(items.size() == scores.size());
    for (size_t i = 0; i < items.size(); ++i) {
      const auto got = choices.score(items[i], "");
      REQUIRE(got.size() == scores[i].size());
      for (size_t c = 0; c < got.size(); ++c) {
        const auto& want = scores[i][c];
        CHECK(got[c].tokens == want["tokens"].get<double>());
        for (Scoring s : kScorings) {
          if (!want.contains(scoring_name(s))) continue;
          CHECK(got[c].value(s) == doctest::Approx(want[scoring_name(s)].get<double>()).epsilon(1e-5));
        }
        CHECK(want.contains("suffix") == suffix);
      }
    }
  }
}

TEST_CASE("items of the published files") {
  const auto copa = items_of("copa");
  CHECK(copa[1].correct == std::vector<bool>{false, true});
  const auto form = template_of("copa");
  CHECK(fill_template(form, form.context, copa[0], 0) == "Kurt's boots were muddy because");
  CHECK(fill_template(form, form.target, copa[0], 0) == " he walked through the rain.");
  const auto record = items_of("record");
  REQUIRE(record.size() == 2);
  CHECK(record[0].choices == std::vector<std::string>{"Zoë", "Mr. Ives", "Århus"});
  CHECK(record[1].correct == std::vector<bool>{true, false, false});
  CHECK(items_of("hellaswag")[1].correct == std::vector<bool>{false, false, false, true});
  CHECK(items_of("piqa")[0].correct == std::vector<bool>{false, true});
  CHECK(items_of("storycloze")[0].fields.at("story") == "Kurt had a dog, Rex. Rex ran away. Kurt looked everywhere. He called \"Rex!\"");
  CHECK(items_of("storycloze")[1].correct == std::vector<bool>{false, true});
  CHECK(items_of("arc")[0].correct == std::vector<bool>{true, false, false});
  CHECK(items_of("boolq")[1].correct == std::vector<bool>{true, false});
}

TEST_CASE("broken items name file and line") {
  const test::TemporaryFolder folder;
  const auto path = folder.path() / "items.jsonl";
  const auto message = [&](const char* task, const std::string& text) -> std::string {
    test::write_text(path, text);
    try {
      read_choice_items(task, path);
    } catch (const Error& e) {
      CHECK(e.status() == Status::kFormat);
      return e.what();
    }
    return "";
  };
  const std::string good = R"({"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 0})";
  CHECK(message("copa", good).empty());
  CHECK(message("copa", good + "\n{\"premise\": \"a\"}").find("items.jsonl: line 2") != std::string::npos);
  CHECK(message("copa", good + "\n{").find("line 2") != std::string::npos);
  CHECK_FALSE(message("copa", "").empty());
  CHECK_FALSE(message("copa", R"({"premise": "a", "choice1": "b", "choice2": "c", "question": "cause", "label": 2})").empty());
  CHECK_FALSE(message("copa", R"({"premise": 1, "choice1": "b", "choice2": "c", "question": "cause", "label": 0})").empty());
  CHECK_FALSE(message("winogrande", R"({"sentence": "no gap", "option1": "a", "option2": "b", "answer": "1"})").empty());
  CHECK_FALSE(message("storycloze", "head\n\"open").empty());
  CHECK_FALSE(message("storycloze", "head\na,b\n").empty());
  CHECK_FALSE(message("arc", R"({"question": {"stem": "s", "choices": [{"text": "t", "label": "A"}]}, "answerKey": "B"})").empty());
  CHECK_FALSE(message("arc", R"({"question": {"stem": "s", "choices": [3]}, "answerKey": "B"})").empty());
  for (const char* entity : {R"("start": 0, "end": 4)", R"("start": -1, "end": 2)", R"("start": 2, "end": 1)", R"("start": 0)"}) {
    CHECK_FALSE(message("record", fmt::format(R"({{"passage": {{"text": "abc", "entities": [{{{}}}]}}, "qas": []}})", entity)).empty());
  }
  CHECK(test::status_of([&] { read_choice_items("chess", path); }) == Status::kInvalidArgument);
  const auto labels = folder.path() / "labels";
  test::write_text(path, R"({"goal": "a", "sol1": "b", "sol2": "c"})");
  for (const char* text : {"", "x", "2", "-1"}) {
    test::write_text(labels, text);
    CHECK(test::status_of([&] { read_choice_items("piqa", path, labels); }) == Status::kFormat);
  }
}

TEST_CASE("templates that can't be filled") {
  const auto status = [](const std::string& json) {
    return test::status_of([&] { read_choice_template(json, "t", "a"); });
  };
  CHECK(status(R"({"tasks": {"a": {"context": "x", "target": "y"}}})") == Status::kOk);
  CHECK(status(R"({"tasks": {"a": {"context": "x"}}})") == Status::kFormat);
  CHECK(status(R"({"tasks": {"a": {"context": "x", "target": "y", "tarmac": ""}}})") == Status::kFormat);
  CHECK(status(R"({"tasks": {"b": {}}})") == Status::kInvalidArgument);
  CHECK(status("[]") == Status::kFormat);
  const ChoiceItem item{{{"a", "A b."}}, {"c"}, {true}};
  const ChoiceTemplate t;
  CHECK(fill_template(t, "{a|end}-{a|lower}-{choice}", item, 0) == "A b-a b.-c");
  for (const char* part : {"{b}", "{a", "{a|x}"}) CHECK(test::status_of([&] { fill_template(t, part, item, 0); }) == Status::kFormat);
}

TEST_CASE("examples are drawn by seed, never the item itself") {
  CHECK(draw_examples(10, 4, 1, 2) == draw_examples(10, 4, 1, 2));
  CHECK(draw_examples(10, 4, 1, 2) != draw_examples(10, 4, 1, 3));
  CHECK(draw_examples(10, 4, 1, 2) != draw_examples(10, 4, 2, 2));
  std::vector<int> count(5);
  for (uint64_t draw = 0; draw < 2000; ++draw) {
    const auto drawn = draw_examples(5, 2, 7, draw, 3);
    CHECK(std::set<size_t>(drawn.begin(), drawn.end()).size() == 2);
    for (size_t i : drawn) ++count[i];
  }
  CHECK(count[3] == 0);
  for (int i : {0, 1, 2, 4}) CHECK(std::abs(count[static_cast<size_t>(i)] - 1000) < 100);
  CHECK(test::status_of([] { draw_examples(3, 3, 0, 0, 1); }) == Status::kInvalidArgument);
  const auto copa = items_of("copa");
  CHECK(shots_text(template_of("copa"), copa, {1}) == "The cat fell into the river so the cat was wet.\n\n");
}

TEST_CASE("the paper's speed-up: 20 ZFLOPs dense against 5 at equal quality is 4") {
  const std::vector<Point> exact{{"d", true, 20, 12.5}, {"m", false, 5, 12.5}};
  CHECK(speed_up(exact, exact[1]).value() == doctest::Approx(4));
  CHECK(speed_up(exact, exact[0]).value() == doctest::Approx(4));
  // At a dense model's quality it is the other curve that is interpolated: 5 between 2.5 and 10.
  const std::vector<Point> two{{"d", true, 20, 12}, {"m", false, 2.5, 14}, {"n", false, 10, 10}};
  CHECK(speed_up(two, two[0]).value() == doctest::Approx(4));
  CHECK_FALSE(speed_up(two, two[1]));
  // Between two dense models, log-linearly: sqrt(10 * 40) = 20 half-way, whichever way quality goes.
  for (double sign : {1.0, -1.0}) {
    const std::vector<Point> points{{"a", true, 10, sign * 20}, {"b", true, 40, sign * 10}, {"m", false, 5, sign * 15}, {"n", false, 5, sign * 25}};
    CHECK(speed_up(points, points[2]).value() == doctest::Approx(4));
    CHECK_FALSE(speed_up(points, points[3]));
    CHECK(cost_of_quality(std::span(points).first(2), sign * 12.5).value() == doctest::Approx(std::pow(10, 0.25) * std::pow(40, 0.75)));
  }
  for (const Point& d : {Point{"d", true, 0, 1}, Point{"d", true, -1, 1}, Point{"d", true, NAN, 1}, Point{"d", true, 5, INFINITY}}) {
    const std::vector<Point> broken{d, {"m", false, 5, 1}}, own{{"d", true, 5, 1}, {"m", false, d.cost, d.quality}};
    CHECK(test::status_of([&] { speed_up(broken, broken[1]); }) == Status::kInvalidArgument);
    CHECK(test::status_of([&] { speed_up(own, own[1]); }) == Status::kInvalidArgument);
  }
}

TEST_CASE("plots stand one below the other, names are escaped") {
  const Plot plot{{{"a<b", true, 10, 20}, {"c", false, 5, 15}}, "cost & more", "quality"};
  const std::string one = comparison_svg({{plot}}), two = comparison_svg(std::vector<Plot>{plot, plot});
  CHECK(one.find("a&lt;b: 10, 20") != std::string::npos);
  CHECK(one.find("cost &amp; more") != std::string::npos);
  CHECK(one.find("NaN") == std::string::npos);
  const auto height = [](const std::string& svg) { return std::stod(svg.substr(svg.find("height=\"") + 8)); };
  CHECK(height(two) == doctest::Approx(2 * height(one)));
  CHECK(two.size() > 1.8 * static_cast<double>(one.size()));
}
