// Profiles from text, for tests that are not about the parser.
#pragma once

#include <gtest/gtest.h>

#include <memory>
#include <string>
#include <utility>

#include "profile/read_profile.h"

namespace leakshim {

inline std::unique_ptr<Profile> Parsed(std::string text, std::string name = "x.heap") {
  absl::StatusOr<std::unique_ptr<Profile>> profile = ParseProfile(std::move(name), std::move(text), {});
  EXPECT_TRUE(profile.ok()) << profile.status();
  return profile.ok() ? *std::move(profile) : std::make_unique<Profile>();
}

// A symbolized profile: names a to d at 0x1000, 0x2000, ...; callers are return addresses, one beyond.
inline std::unique_ptr<Profile> Named(const std::string& heap) {
  return Parsed(
      "--- symbol\nbinary=program\n0x1000 a\n0x2000 b\n0x3000 c\n0x4000 d--inlined\n0x5000 malloc\n---\n--- heap\n" +
      heap);
}

}  // namespace leakshim
