// What `moiety eval compare` says: a table, CSV, JSON, plots.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "eval/compare.h"
#include "eval/perplexity.h"

namespace cli {

using Json = nlohmann::ordered_json;

// A model's quality by one measure.
struct Measured {
  enum Kind : uint8_t { kText, kAccuracy, kGiven };
  Kind kind = kGiven;
  std::string measure;           // a set of texts ("in", "out", ""), or "copa, sum"
  moiety::eval::TextScore text;  // of kText: all texts of the set together
  double quality = 0;            // of the others; of kText the report says it
};

struct ComparedModel {
  std::string name;
  bool dense = false;
  double parameters = 0, active = 0, flops = 0, train_tokens = 0;  // flops of a token; 0: not known
  double training = 0;                                             // ZFLOP
  std::vector<Measured> measured;
};

enum class TextQuality : uint8_t { kPerplexity, kLoss, kBits };  // what a text's quality is

class CompareReport {
 public:
  // Throws Error kInvalidArgument where sets of one name hold other texts, or a number is none.
  CompareReport(std::vector<ComparedModel> models, TextQuality by);

  // Sets whose tokens differ between models: their perplexities do not compare.
  std::vector<std::string> other_tokens() const;
  std::string table() const;
  std::string csv() const;
  Json json() const;
  std::string svg() const;

 private:
  struct Measure {
    Measured::Kind kind;
    std::string name;
  };
  void check_texts() const;
  const Measured* find(const ComparedModel& model, const Measure& measure) const;
  std::vector<moiety::eval::Point> points(const Measure& measure) const;
  std::string quality_name(const Measure& measure) const;
  // "2.50", "outside" the qualities of the other family; "" where it has no model.
  std::string speed_up(const ComparedModel& model, const Measured& measured, const Measure& measure, int digits) const;

  std::vector<ComparedModel> models_;
  TextQuality by_;
  std::vector<Measure> measures_;  // as they appear
};

}  // namespace cli
