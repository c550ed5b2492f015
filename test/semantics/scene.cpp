// SPDX-License-Identifier: Apache-2.0
#include "test/semantics/scene.h"

#include "test/support/payload.h"
#include "underpass/abi_names.h"

namespace underpass::test {
namespace {

// More than UP_FIRST_READS each way, and enough for a direction that had to try a few times.
constexpr int kWarmUpMessages = 12;
constexpr std::size_t kWarmUpBytes = 100;

// Why the last message of a direction that went by TCP did, unless that is what happens at every beginning.
bool is_news(up_why why) { return why != UP_WHY_NONE && why != UP_WHY_FIRST_MESSAGES; }

}  // namespace

Scene::Scene(const World& world, Stage stage)
    : world_(world), stage_(std::move(stage)), before_(world.pinned.stats()) {}

Link Scene::connect(const Prepare& sender, const Prepare& reader) {
  const bool swap = stage_.server_sends;
  Pair pair =
      make_pair_between(stage_.client, stage_.server, stage_.family, swap ? reader : sender, swap ? sender : reader);
  return adopt(std::move(pair.client), std::move(pair.server));
}

Link Scene::connect_warm(const Prepare& sender, const Prepare& reader) {
  Link link = connect(sender, reader);
  warm_up(link);
  return link;
}

void Scene::warm_up(const Link& link) {
  const std::uint64_t before = world_.redirected();
  exchange(link.client.get(), link.server.get(), kWarmUpMessages, kWarmUpBytes);
  look();
  warm_up_ += world_.redirected() - before;
}

Link Scene::adopt(UniqueFd client, UniqueFd server) {
  ids_.push_back(socket_cookie(client.get()));
  Link link{.client = std::move(client), .server = std::move(server), .server_sends = stage_.server_sends};
  look();
  return link;
}

void Scene::close(UniqueFd& end) {
  look();
  end.reset();
}

void Scene::look() {
  for (const std::uint64_t id : ids_) {
    const std::optional<up_conn> record = world_.pinned.connection_of(id);
    if (!record) continue;
    const auto [at, is_new] = seen_.try_emplace(id, Seen{record->way, *record});
    at->second.last = *record;
  }
}

std::filesystem::path Scene::new_folder() const {
  static int number = 0;
  const std::filesystem::path folder = world_.sandbox.root() / ("scene-" + std::to_string(++number));
  std::filesystem::create_directory(folder);
  return folder;
}

std::filesystem::path Scene::shared_folder() const {
  const std::filesystem::path folder = world_.sandbox.root() / "scenes";
  std::filesystem::create_directory(folder);
  return folder;
}

Account Scene::account() {
  look();
  const up_stats now = world_.pinned.stats();
  Account account{.redirected = now.redirected_bytes - before_.redirected_bytes - warm_up_};
  // Of connections that programs make, and of MPTCP's subflows, the counters tell.
  for (const up_way way : {UP_WAY_SHORT_CIRCUIT, UP_WAY_DIRECT}) {
    if (!seen_.empty() || now.connections[way] == before_.connections[way]) continue;
    account.way = (account.way == "none" ? "" : account.way + ", ") + std::string(name_of(way));
  }
  for (int why = 0; account.way == "direct" && why < UP_WHY_COUNT; ++why) {
    if (now.fallbacks[why] > before_.fallbacks[why]) account.reason = name_of(static_cast<up_why>(why));
  }
  // Where there are several connections, the one that was short-circuited speaks for them.
  for (const auto& [id, seen] : seen_) {
    const std::string first(name_of(seen.first_way));
    const std::string last(name_of(seen.last.way));
    if (account.way.starts_with("short-circuit")) continue;
    account.way = first == last ? first : first + ", " + last;
    account.reason.clear();
    if (seen.last.why != UP_WHY_NONE) account.reason = name_of(seen.last.why);
    for (const up_dir& direction : seen.last.dir) {
      if (account.reason.empty() && is_news(direction.why)) account.reason = name_of(direction.why);
    }
  }
  return account;
}

}  // namespace underpass::test
