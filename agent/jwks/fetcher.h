// SPDX-License-Identifier: Apache-2.0
// Fetches the key sets of jwks_uri and keeps them fresh, for workers, which have no network. What was good stays until
// something better comes: no error empties it, and a restart finds it in <state-dir>/jwks.json. Where nothing was ever
// fetched there is nothing, and tokens of that issuer are refused. Redirects are not followed: the guard has looked at
// one host. For one thread, that of the io_context.
#pragma once

#include <chrono>
#include <compare>
#include <cstdint>
#include <functional>
#include <memory>
#include <set>
#include <string>
#include <vector>

#include "agent/jwks/sets_file.h"
#include "agent/k8s/api/backoff.h"
#include "underpass/ip_address.h"
#include "underpass/result.h"

namespace boost::asio {
class io_context;
}

namespace underpass::jwks {

struct Wanted {
  std::string uri;
  std::chrono::milliseconds timeout{5'000};  // of one fetch, the whole; of several for one URI the longest counts

  auto operator<=>(const Wanted&) const = default;
};

struct FetcherOptions {
  std::string file;     // where good sets are kept (sets_path()); empty: nowhere
  std::string ca_file;  // PEM; empty: the system's certificate authorities
  std::string user_agent = "underpassd/" UNDERPASS_VERSION;
  // Whether this address may be dialled for this host; null: as address_guard.h has it by default.
  std::function<Result<void>(const std::string& host, const IpAddress& address)> may_dial;
  std::chrono::milliseconds refresh = std::chrono::minutes(20);  // Istio's; up to a tenth less, so that they spread
  k8s::BackoffLimits backoff{.first = std::chrono::seconds(2), .most = std::chrono::minutes(5)};
  std::size_t at_once = 4;
  std::size_t most = 128;                          // URIs; more are not fetched, and say so
  std::size_t most_bytes = std::size_t{16} << 20;  // of all sets together
};

// For `status` and metrics.
struct SetStatus {
  std::string uri;
  bool has_keys = false;                        // perhaps of an earlier agent
  bool is_plain = false;                        // http: whoever is in between chooses the keys
  std::string problem;                          // of the last try; empty: none, or none was made yet
  std::chrono::system_clock::time_point since;  // of the problem

  bool operator==(const SetStatus&) const = default;
};

struct FetchCounts {
  std::uint64_t succeeded = 0;
  std::uint64_t failed = 0;
};

class Fetcher {
 public:
  // `changed` is called when sets() is another; never from within a call, and not after the fetcher is destroyed. `io`
  // outlives it.
  Fetcher(boost::asio::io_context& io, FetcherOptions options, std::function<void()> changed);
  ~Fetcher();
  Fetcher(const Fetcher&) = delete;
  Fetcher& operator=(const Fetcher&) = delete;

  // In the place of what was wanted before; new ones are fetched at once.
  void set_wanted(const std::set<Wanted>& wanted);

  // Of what is wanted and was ever fetched.
  [[nodiscard]] const Sets& sets() const;
  // Of what is wanted, by URI.
  [[nodiscard]] std::vector<SetStatus> status() const;
  [[nodiscard]] FetchCounts counts() const;
  // Of the file; empty: none.
  [[nodiscard]] const std::string& file_problem() const;

 private:
  struct State;
  std::shared_ptr<State> state_;
};

}  // namespace underpass::jwks
