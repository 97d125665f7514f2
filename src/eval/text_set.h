// The texts that are scored or traced: which files a command names, and how a model reads them.
#pragma once

#include <cstdint>
#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "text/tokenizer.h"

namespace moiety::eval {

struct TextFile {
  std::string name;  // "wiki", "sample.txt", "pile/arxiv.txt": of the row in a table
  std::string set;   // "in", "out" (of the training domain) or ""
  std::filesystem::path path;
};

// What "PATH" or "NAME=PATH" names: a file, or every file under a folder, sorted by name, hidden ones left out. Throws
// Error kIo if nothing is there.
std::vector<TextFile> find_texts(std::string_view spec, std::string_view set = {});

// The whole file; throws Error kIo.
std::string read_text(const std::filesystem::path& path);

// Lines as fairseq's preprocessing cuts them: at \n only, white space at both ends removed as Python's strip() does,
// blank ones dropped unless they are to be kept.
std::vector<std::string_view> stripped_lines(std::string_view text, bool keep_empty);

// What stands in front of a text that begins nowhere: BOS, or EOS where there is none, or nothing.
std::optional<int32_t> start_token(const Tokenizer& tokenizer);

// The ids of a text, without a start token. Where a newline is EOS: its stripped lines, each with EOS behind it.
std::vector<int32_t> encode_text(const Tokenizer& tokenizer, std::string_view text, bool keep_empty);

}  // namespace moiety::eval
