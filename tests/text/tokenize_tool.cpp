// Tokenizes a file for tools/check_tokenizers.py: tokenize_tool FOLDER TEXT_FILE [special] -> one id a line.
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>

#include "core/error.h"
#include "text/tokenizer.h"

int main(int argc, char** argv) {
  if (argc < 3) return 2;
  try {
    const auto tokenizer = moiety::Tokenizer::from_folder(argv[1]);
    std::ifstream file(argv[2], std::ios::binary);
    const std::string text((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    const bool special = argc > 3;
    for (const int32_t id : tokenizer->encode(text, {special, special})) std::printf("%d\n", id);
  } catch (const moiety::Error& error) {
    std::fprintf(stderr, "%s\n", error.what());
    return 1;
  }
  return 0;
}
