// SPDX-License-Identifier: Apache-2.0
// The files of a certificate authority, named as Istio's secret `cacerts` has them, and what keeping them in order asks
// of the place where they are.
#pragma once

#include <array>
#include <map>
#include <string>
#include <utility>

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
inline constexpr std::array kFileNames{kRootCert, kCaCert, kCertChain, kCaKey, kRootKey, kNextRootKey, kOldRootCert};

using Files = std::map<std::string, std::string>;  // by name

class AuthorityFiles {
 public:
  virtual ~AuthorityFiles() = default;

  // For messages: "/var/lib/underpass/ca", "Secret underpass-system/underpass-ca".
  [[nodiscard]] const std::string& path() const { return path_; }
  [[nodiscard]] std::string path_of(const char* name) const { return path_ + "/" + name; }

  // Of the files above those that there are. An error names the file, and what is wrong.
  [[nodiscard]] virtual Result<Files> read() const = 0;
  // Whether others of ours may write there at the same time.
  [[nodiscard]] virtual bool has_lock() const = 0;
  // Held while what this returns lives. Error: another has it for too long.
  [[nodiscard]] virtual Result<UniqueFd> lock() const = 0;
  // With the lock held: what a killed process has not finished; and new content of some files, all or none of it, where
  // an empty one means that the file goes.
  [[nodiscard]] virtual Result<void> finish() const = 0;
  [[nodiscard]] virtual Result<void> replace(const Files& files) const = 0;

 protected:
  explicit AuthorityFiles(std::string path) : path_(std::move(path)) {}
  AuthorityFiles(const AuthorityFiles&) = default;
  AuthorityFiles& operator=(const AuthorityFiles&) = default;
  AuthorityFiles(AuthorityFiles&&) = default;
  AuthorityFiles& operator=(AuthorityFiles&&) = default;

  std::string path_;
};

}  // namespace underpass::ca
