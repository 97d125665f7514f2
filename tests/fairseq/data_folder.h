#pragma once

#include <filesystem>

namespace moiety::test {
extern std::filesystem::path data_folder;  // set by main, which alone reads the environment
}
