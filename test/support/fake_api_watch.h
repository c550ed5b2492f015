// SPDX-License-Identifier: Apache-2.0
// One watch of the fake API server: which events are due, and how they are told where it is to misbehave. No sockets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "test/support/fake_api_rest.h"

namespace underpass::test {

class FakeWatch {
 public:
  enum class Then {
    kGoOn,
    kEnd,        // with the last chunk
    kCut,        // the connection is closed
    kReset,      // ... with an RST
    kSilence,    // nothing more is written
    kBlackHole,  // ... nor read
  };

  // `objects` outlives it.
  FakeWatch(FakeCall call, const FakeObjects& objects, std::optional<Fault> fault);

  // The lines that are due. Where something else than going on comes after them, then() says so.
  std::string take();
  [[nodiscard]] Then then() const { return then_; }
  [[nodiscard]] std::string bookmark() const;

 private:
  void begin();
  void tell(const FakeChange& change, std::string& out);
  void add(const char* type, const FakeObject& object, std::uint64_t version, std::string& out);
  // What the fault does once its number of events is reached.
  void misbehave(std::string& out);
  [[nodiscard]] bool is(Fault::What what) const { return fault_ && fault_->what == what; }

  FakeCall call_;
  const FakeObjects& objects_;
  std::optional<Fault> fault_;
  std::uint64_t position_ = 0;  // the last change that was looked at
  std::size_t sent_ = 0;        // events
  bool begun_ = false;
  bool done_ = false;  // what the fault does once
  Then then_ = Then::kGoOn;
};

}  // namespace underpass::test
