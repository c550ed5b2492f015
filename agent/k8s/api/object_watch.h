// SPDX-License-Identifier: Apache-2.0
// One kind of the API server's, told object by object: for who looks at some fields of them and keeps what he needs.
#pragma once

#include <functional>
#include <memory>
#include <string>

#include "agent/k8s/api/api_client.h"
#include "agent/k8s/api/api_kind.h"
#include "agent/k8s/api/api_source.h"
#include "agent/k8s/api/object_reader.h"
#include "underpass/ids.h"

namespace boost::asio {
class io_context;
}

namespace underpass::k8s {

class Reflector;

class ObjectWatch {
 public:
  struct Hooks {
    std::function<void(Received&&)> seen;  // it is new, or another
    std::function<void(const NamespacedName&)> gone;
    std::function<void(Received&)> reduce = nullptr;  // as soon as it comes: to what is looked at
    std::function<void()> changed = nullptr;          // after any of these, and when it is listed for the first time
  };

  // `io` and `client` outlive it. No hook is called after it is destroyed.
  ObjectWatch(boost::asio::io_context& io, ApiClient& client, ApiKind kind, Hooks hooks);
  ~ObjectWatch();
  ObjectWatch(const ObjectWatch&) = delete;
  ObjectWatch& operator=(const ObjectWatch&) = delete;

  void start();
  // All that there is was seen, or there is no such kind.
  [[nodiscard]] bool synced() const;
  [[nodiscard]] KindState state() const;

 private:
  std::shared_ptr<Reflector> reflector_;
};

}  // namespace underpass::k8s
