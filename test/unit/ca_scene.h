// SPDX-License-Identifier: Apache-2.0
// What tests of the certificate authority stand on: a folder, a clock that is set, and openssl(1) for a second opinion.
#pragma once

#include <sys/stat.h>

#include <chrono>
#include <filesystem>
#include <string>
#include <vector>

#include "agent/ca/folder_issuer.h"
#include "agent/ca/keeper.h"
#include "test/support/files.h"
#include "test/support/process.h"
#include "test/support/temp_folder.h"

namespace underpass::test {

using ca::WallTime;

inline const std::string kWeb = "spiffe://cluster.local/ns/shop/sa/web";
inline const std::string kDb = "spiffe://cluster.local/ns/shop/sa/db";

// A time of whole seconds, as certificates have it.
inline WallTime some_day() { return std::chrono::sys_days(std::chrono::year(2031) / 5 / 17) + std::chrono::hours(9); }

inline std::string openssl(std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), "openssl");
  return run_ok({.argv = std::move(arguments)});
}

// `openssl verify` of the first certificate of `chain`, with the others in between, at that time.
inline Finished verify(const TempFolder& folder, const std::string& bundle, const std::string& chain, WallTime at,
                       const std::string& purpose = "sslserver") {
  folder.write("verify-bundle", bundle);
  folder.write("verify-chain", chain);
  return run({.argv = {"openssl", "verify", "-x509_strict", "-attime",
                       std::to_string(std::chrono::system_clock::to_time_t(at)), "-purpose", purpose, "-CAfile",
                       folder / "verify-bundle", "-untrusted", folder / "verify-chain", folder / "verify-chain"}});
}

// `openssl x509 -text` of the first certificate.
inline std::string text_of(const TempFolder& folder, const std::string& pem) {
  folder.write("text", pem);
  return openssl({"x509", "-noout", "-text", "-in", folder / "text"});
}

inline std::size_t count_of(const std::string& text, const std::string& part) {
  std::size_t count = 0;
  for (auto at = text.find(part); at != std::string::npos; at = text.find(part, at + part.size())) ++count;
  return count;
}

// A keeper whose folder and clock are a test's.
struct KeptScene {
  explicit KeptScene(ca::UpkeepOptions upkeep = {}, std::size_t at_once = 64)
      : keeper({.issuer = std::make_unique<ca::FolderIssuer>(ca_dir(), upkeep, at_once),
                .svid_life = upkeep.svid_life,
                .clock = [this] { return now; },
                .random = [] { return 0.0; }}) {}

  [[nodiscard]] std::string ca_dir() const { return folder / "ca"; }
  [[nodiscard]] std::filesystem::path file(const char* name) const { return folder / "ca" / name; }
  // Steps until there is nothing left to do; whether anything changed.
  bool settle() {
    bool changed = false;
    for (bool more = true; more;) {
      auto step = keeper.step();
      changed = changed || step.changed;
      more = step.more;
      news.insert(news.end(), step.news.begin(), step.news.end());
    }
    return changed;
  }
  [[nodiscard]] const Certificate* certificate(const std::string& identity) const {
    const auto found = keeper.certificates().find(identity);
    return found == keeper.certificates().end() ? nullptr : &found->second;
  }
  [[nodiscard]] std::string chain(const std::string& identity = kWeb) const {
    const auto* found = certificate(identity);
    return found == nullptr ? "" : found->chain;
  }
  // openssl's word on what a worker is given.
  [[nodiscard]] bool is_believed(const std::string& identity = kWeb) const {
    return verify(folder, keeper.trust_bundle(), chain(identity), now).exit.ok();
  }
  [[nodiscard]] std::string problem() const {
    const auto all = keeper.problems();
    return all.empty() ? "" : all.front().text;
  }

  TempFolder folder;
  WallTime now = some_day();
  std::vector<std::string> news;
  ca::Keeper keeper;
};

}  // namespace underpass::test
