// SPDX-License-Identifier: Apache-2.0
// Loads and attaches bpf/textbook.bpf.c at a cgroup; everything is detached and freed by the destructor.
#pragma once

#include <filesystem>
#include <functional>
#include <memory>
#include <vector>

#include "underpass/unique_fd.h"

struct bpf_object;

namespace underpass::test {

class ForeignPrograms {
 public:
  explicit ForeignPrograms(const std::filesystem::path& cgroup);
  ~ForeignPrograms();
  ForeignPrograms(const ForeignPrograms&) = delete;
  ForeignPrograms& operator=(const ForeignPrograms&) = delete;

  // Which messages of the sockets in its sockmap it redirects.
  enum class Redirects { kNone, kAll, kSome };
  // Every TCP connection over IPv4 joins its sockmap from now on.
  void attach_sockmap(Redirects redirects);
  // `exclusive`: nobody may attach another connect4 there.
  void attach_connect4(bool exclusive);

 private:
  [[nodiscard]] int program(const char* name) const;

  UniqueFd cgroup_;
  std::unique_ptr<bpf_object, void (*)(bpf_object*)> object_;
  std::vector<std::function<void()>> detach_;
};

}  // namespace underpass::test
