// SPDX-License-Identifier: Apache-2.0
// Who makes the certificates that a Keeper keeps: an authority of its own, or somebody who is asked.
#pragma once

#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <vector>

#include "agent/ca/details.h"
#include "agent/ca/openssl.h"
#include "underpass/result.h"

namespace underpass::ca {

enum class Kind { kSvid, kIntermediate, kRoot };

// For `underpassctl certs`.
struct Row {
  Kind kind = Kind::kSvid;
  std::string identity;            // of an SVID
  std::optional<Details> details;  // absent: there is no certificate
  std::optional<WallTime> renewal;
  std::string problem;  // why there is none, or it was not renewed; empty: none
  std::string pem;      // it, and what leads to its root; never a key

  bool operator==(const Row&) const = default;
};

struct Problem {
  std::string text;
  bool urgent = false;  // less than an hour is left, or nothing

  bool operator==(const Problem&) const = default;
};

struct Issued {
  KeyPair pair;
  std::vector<CertificatePtr> chain;  // from the certificate to below its root
  WallTime issued;
};

class Issuer {
 public:
  using Done = std::function<void(Result<Issued>)>;

  Issuer() = default;
  virtual ~Issuer() = default;
  Issuer(const Issuer&) = delete;
  Issuer& operator=(const Issuer&) = delete;

  // Before each step. True: it is another than it was, so that what failed may go well now.
  virtual bool look(WallTime now, std::vector<std::string>& news) = 0;

  // Empty: not known yet.
  [[nodiscard]] virtual const std::string& trust_bundle() const = 0;
  // Why nothing is issued, in short ("its authority is not good"); empty: it is.
  [[nodiscard]] virtual std::string obstacle() const = 0;
  // Until when what is issued now is valid at most.
  [[nodiscard]] virtual WallTime ends() const = 0;
  // It would not be issued so any more: another is to take its place at once.
  [[nodiscard]] virtual bool is_outdated(const Issued& issued, WallTime now) const = 0;

  // How many may be asked for at one time.
  [[nodiscard]] virtual std::size_t at_once() const = 0;
  // `done` is called from within this or later from the same thread, once; not after the issuer is destroyed.
  virtual void issue(const std::string& identity, WallTime now, Done done) = 0;

  // Roots, then what is between.
  [[nodiscard]] virtual std::vector<Row> rows(WallTime now) const = 0;
  [[nodiscard]] virtual std::vector<Problem> problems(WallTime now) const = 0;
  [[nodiscard]] virtual Result<void> rotate_root(WallTime now) = 0;
};

// Of a certificate that lasts for years: since when its end is worth a warning.
WallTime warning_from(const CertificatePtr& certificate);
// The rows of roots and intermediates.
std::vector<Row> rows_of(Kind kind, const std::vector<CertificatePtr>& certificates, WallTime now);
// "… ends at …; put another into its place", of those whose end is near.
std::vector<Problem> problems_of_ends(const std::string& place, const std::vector<CertificatePtr>& certificates,
                                      WallTime now);

}  // namespace underpass::ca
