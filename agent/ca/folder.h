// SPDX-License-Identifier: Apache-2.0
// The files of a certificate authority (--ca-dir), named as Istio's secret `cacerts` has them. Read strictly: a key
// that others may read, or a file that others may write, is an error. Several files are replaced as one: a process that
// is killed in the middle has changed nothing, or what is left to do is done by the next that holds the lock.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <string>

#include "underpass/result.h"
#include "underpass/unique_fd.h"

namespace underpass::ca {

inline constexpr const char* kRootCert = "root-cert.pem";         // the trust bundle: one root or more
inline constexpr const char* kCaCert = "ca-cert.pem";             // what signs
inline constexpr const char* kCertChain = "cert-chain.pem";       // from there to a root
inline constexpr const char* kCaKey = "ca-key.pem";               // of what signs
inline constexpr const char* kRootKey = "root-key.pem";           // where the root is our own
inline constexpr const char* kNextRootKey = "next-root-key.pem";  // while it is rotated: of the root that is to follow
inline constexpr const char* kOldRootCert = "old-root-cert.pem";  // ... that is to leave the bundle

using Files = std::map<std::string, std::string>;  // by name

class Folder {
 public:
  explicit Folder(std::string path) : path_(std::move(path)) {}

  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string path_of(const char* name) const { return path_ + "/" + name; }

  // Of the files above those that there are; none where there is no folder. An error names the file, and what is wrong:
  // also a folder that is not empty and has none of them.
  [[nodiscard]] Result<Files> read() const;

  // Another whenever one of the files may be another.
  [[nodiscard]] std::string fingerprint() const;

  // Whether agents of ours made it: it has their lock file.
  [[nodiscard]] bool has_lock() const;
  // Makes folder (0700) and lock file where they are missing. Error: another process has it for too long.
  [[nodiscard]] Result<UniqueFd> lock() const;

  // With the lock held: what a killed process has not finished; and new content of some files, where an empty one means
  // that the file goes.
  [[nodiscard]] Result<void> finish() const;
  [[nodiscard]] Result<void> replace(const Files& files) const;

 private:
  std::string path_;
};

}  // namespace underpass::ca
