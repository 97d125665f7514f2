#include "compare_report.h"

#include <fmt/format.h>

#include <algorithm>

#include "core/error.h"
#include "output.h"

namespace cli {
namespace {

namespace ev = moiety::eval;

const char* family_of(const ComparedModel& model) { return model.dense ? "dense" : "moe"; }

std::string known(double value, const char* format) {
  return value > 0 ? fmt::format(fmt::runtime(format), value) : "";
}

double quality_of(const ev::TextScore& text, TextQuality by) {
  if (by == TextQuality::kLoss) return text.loss_base2();
  return by == TextQuality::kBits ? text.bits_per_byte() : text.perplexity();
}

// "in: loss", or "loss" where the measure has no name.
std::string titled(const std::string& measure, const char* what) {
  return measure.empty() ? what : measure + ": " + what;
}

}  // namespace

CompareReport::CompareReport(std::vector<ComparedModel> models, TextQuality by) : models_(std::move(models)), by_(by) {
  for (ComparedModel& model : models_) {
    for (Measured& m : model.measured) {
      if (m.kind == Measured::kText) m.quality = quality_of(m.text, by);
      const auto same = [&](const Measure& known) { return known.kind == m.kind && known.name == m.measure; };
      if (std::ranges::none_of(measures_, same)) measures_.push_back({m.kind, m.measure});
    }
  }
  check_texts();
  for (const Measure& measure : measures_) {  // a number that is none is told before anything is written
    const std::vector<ev::Point> all = points(measure);
    for (const ev::Point& p : all) ev::speed_up(all, p);
  }
}

void CompareReport::check_texts() const {
  for (const Measure& measure : measures_) {
    const ComparedModel* first = nullptr;
    for (const ComparedModel& model : models_) {
      const Measured* m = find(model, measure);
      if (!m || m->kind != Measured::kText) continue;
      if (!first) first = &model;
      const uint64_t bytes = find(*first, measure)->text.bytes;
      if (m->text.bytes == bytes) continue;
      moiety::fail(moiety::Status::kInvalidArgument,
                   "{}: the texts {}have {} bytes, those of {} {}: not the same texts", model.name,
                   measure.name.empty() ? "" : "\"" + measure.name + "\" ", m->text.bytes, first->name, bytes);
    }
  }
}

const Measured* CompareReport::find(const ComparedModel& model, const Measure& measure) const {
  const auto it = std::ranges::find_if(
      model.measured, [&](const Measured& m) { return m.kind == measure.kind && m.measure == measure.name; });
  return it == model.measured.end() ? nullptr : &*it;
}

std::vector<ev::Point> CompareReport::points(const Measure& measure) const {
  std::vector<ev::Point> out;
  for (const ComparedModel& model : models_) {
    if (const Measured* m = find(model, measure)) out.push_back({model.name, model.dense, model.training, m->quality});
  }
  return out;
}

std::vector<std::string> CompareReport::other_tokens() const {
  std::vector<std::string> out;
  for (const Measure& measure : measures_) {
    int64_t tokens = 0;
    bool differ = false;
    for (const ComparedModel& model : models_) {
      const Measured* m = find(model, measure);
      if (!m || m->kind != Measured::kText) continue;
      differ |= tokens != 0 && tokens != m->text.tokens;
      tokens = m->text.tokens;
    }
    if (differ) out.push_back(measure.name);
  }
  return out;
}

std::string CompareReport::quality_name(const Measure& measure) const {
  constexpr const char* kText[] = {"perplexity", "loss (base 2)", "bits a byte"};
  if (measure.kind == Measured::kText) return titled(measure.name, kText[static_cast<size_t>(by_)]);
  return titled(measure.name, measure.kind == Measured::kAccuracy ? "accuracy" : "quality");
}

std::string CompareReport::speed_up(const ComparedModel& model, const Measured& measured, const Measure& measure,
                                    int digits) const {
  const std::vector<ev::Point> all = points(measure);
  if (std::ranges::none_of(all, [&](const ev::Point& p) { return p.dense != model.dense; })) return "";
  const auto factor = ev::speed_up(all, {model.name, model.dense, model.training, measured.quality});
  return factor ? fmt::format("{:.{}f}", *factor, digits) : "outside";
}

std::string CompareReport::table() const {
  const bool counted = std::ranges::any_of(models_, [](const ComparedModel& m) { return m.parameters > 0; });
  std::string head = "| model | family |", rule = "| --- | --- |", rows;
  const auto column = [&](const std::string& title) { head += " " + title + " |", rule += " ---: |"; };
  if (counted) column("parameters, M"), column("active, M");
  column("MFLOP a token"), column("training, ZFLOP");
  for (const Measure& measure : measures_) {
    if (measure.kind == Measured::kText && by_ != TextQuality::kLoss) column(titled(measure.name, "loss (base 2)"));
    column(quality_name(measure)), column(titled(measure.name, "speed-up"));
  }
  for (const ComparedModel& model : models_) {
    rows += fmt::format("| {} | {} |", model.name, family_of(model));
    if (counted) {
      rows += fmt::format(" {} | {} |", known(model.parameters / 1e6, "{:.1f}"), known(model.active / 1e6, "{:.1f}"));
    }
    rows += fmt::format(" {} | {:.4g} |", known(model.flops / 1e6, "{:.1f}"), model.training);
    for (const Measure& measure : measures_) {
      const Measured* m = find(model, measure);
      if (measure.kind == Measured::kText && by_ != TextQuality::kLoss) {
        rows += m ? fmt::format(" {:.4f} |", m->text.loss_base2()) : "  |";
      }
      if (!m) {
        rows += "  |  |";
      } else if (m->kind == Measured::kAccuracy) {
        rows += fmt::format(" {:.2f} % | {} |", 100 * m->quality, speed_up(model, *m, measure, 2));
      } else {
        rows += fmt::format(" {:.4f} | {} |", m->quality, speed_up(model, *m, measure, 2));
      }
    }
    rows += "\n";
  }
  return head + "\n" + rule + "\n" + rows;
}

std::string CompareReport::csv() const {
  std::string out =
      "model,family,parameters,active,mflop_per_token,train_tokens,train_zflop,measure,tokens,loss_base2,bits_per_byte,"
      "quality,speed_up\n";
  for (const ComparedModel& model : models_) {
    for (const Measure& measure : measures_) {
      const Measured* m = find(model, measure);
      if (!m) continue;
      out += fmt::format("{},{},{},{},{},{},{:.6g},{},", csv_field(model.name), family_of(model),
                         known(model.parameters, "{:.0f}"), known(model.active, "{:.0f}"),
                         known(model.flops / 1e6, "{:.6g}"), known(model.train_tokens, "{:.6g}"), model.training,
                         csv_field(quality_name(measure)));
      if (m->kind == Measured::kText) {
        out += fmt::format("{},{:.6f},{:.6f},", m->text.tokens, m->text.loss_base2(), m->text.bits_per_byte());
      } else {
        out += ",,,";
      }
      out += fmt::format("{:.6g},{}\n", m->quality, speed_up(model, *m, measure, 4));
    }
  }
  return out;
}

Json CompareReport::json() const {
  Json list = Json::array();
  for (const ComparedModel& model : models_) {
    for (const Measure& measure : measures_) {
      const Measured* m = find(model, measure);
      if (!m) continue;
      Json one{{"name", model.name}, {"family", family_of(model)}};
      if (model.parameters > 0) {
        one.update(Json{{"parameters", static_cast<int64_t>(model.parameters)},
                        {"active_parameters", static_cast<int64_t>(model.active)}});
      }
      one.update(Json{{"flops_per_token", model.flops},
                      {"train_tokens", model.train_tokens},
                      {"train_zflops", model.training},
                      {"measure", quality_name(measure)}});
      if (m->kind == Measured::kText) {
        one.update(Json{{"tokens", m->text.tokens},
                        {"bytes", m->text.bytes},
                        {"loss_base2", m->text.loss_base2()},
                        {"bits_per_byte", m->text.bits_per_byte()},
                        {"perplexity", m->text.perplexity()}});
      }
      const auto factor = ev::speed_up(points(measure), {model.name, model.dense, model.training, m->quality});
      one.update(Json{{"quality", m->quality}, {"speed_up", factor ? Json(*factor) : Json()}});
      list.push_back(one);
    }
  }
  return list;
}

std::string CompareReport::svg() const {
  std::vector<ev::Plot> plots;
  for (const Measure& measure : measures_) plots.push_back({points(measure), "training, ZFLOP", quality_name(measure)});
  return ev::comparison_svg(plots);
}

}  // namespace cli
