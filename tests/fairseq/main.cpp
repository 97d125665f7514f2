// meson test fairseq: what fairseq computed, from the folder MOIETY_FAIRSEQ_DATA, and that the checks can fail.
#define DOCTEST_CONFIG_IMPLEMENT
#include <cstdio>
#include <cstdlib>
#include <doctest/doctest.h>

#include "data_folder.h"

namespace moiety::test {
std::filesystem::path data_folder;
}

int main(int argc, char** argv) {
  const char* named = std::getenv("MOIETY_FAIRSEQ_DATA");
  moiety::test::data_folder = named ? named : MOIETY_SOURCE_DIR "/../shared/data/fairseq";
  if (!std::filesystem::exists(moiety::test::data_folder)) {
    std::printf("SKIP: %s is not there; MOIETY_FAIRSEQ_DATA names the folder\n", moiety::test::data_folder.c_str());
    return 77;
  }
  doctest::Context context(argc, argv);
  const int status = context.run();
  std::fflush(stdout);
  return status;
}
