// SPDX-License-Identifier: Apache-2.0
#include "agent/k8s/api/object_watch.h"

#include <boost/asio/io_context.hpp>
#include <utility>

#include "agent/k8s/api/channel.h"
#include "agent/k8s/api/reflector.h"

namespace underpass::k8s {
namespace {

// An object from when it is decoded to when it counts: a list counts when it is complete.
struct Held : File {
  Held(File file, Received&& object) : File(std::move(file)), received(std::move(object)) {}
  mutable Received received;  // given away once
};

NamespacedName name_of(const std::string& path) {
  const auto slash = path.find('/');
  return {.ns = path.substr(0, slash), .name = path.substr(slash + 1)};
}

}  // namespace

ObjectWatch::ObjectWatch(boost::asio::io_context& io, ApiClient& client, ApiKind kind, Hooks hooks) {
  const auto shared = std::make_shared<Hooks>(std::move(hooks));
  const auto changed = [shared] {
    if (shared->changed) shared->changed();
  };
  Reflector::Hooks inner;
  inner.decode = [shared](Received&& received) {
    if (shared->reduce) shared->reduce(received);
    const auto path = received.ns + "/" + received.name;
    // Never the same twice, so that each event is news.
    File file{path, {}, {{path, received.resource_version}}};
    return std::make_shared<const Held>(std::move(file), std::move(received));
  };
  inner.changed = [shared, changed](const std::string& path, const std::shared_ptr<const File>& file) {
    if (!file)
      shared->gone(name_of(path));
    else
      shared->seen(std::move(static_cast<const Held&>(*file).received));
    changed();
  };
  inner.state_changed = changed;
  inner.defined = [] { return Defined::kMayNotAsk; };
  reflector_ = std::make_shared<Reflector>(io, client.open_channel(), std::move(kind), ApiTuning(), std::move(inner));
}

ObjectWatch::~ObjectWatch() { reflector_->stop(); }

void ObjectWatch::start() { reflector_->start(); }

bool ObjectWatch::synced() const { return reflector_->synced(); }

KindState ObjectWatch::state() const { return reflector_->state(); }

}  // namespace underpass::k8s
