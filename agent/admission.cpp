// SPDX-License-Identifier: Apache-2.0
#include "agent/admission.h"

#include <spdlog/spdlog.h>

#include <algorithm>
#include <set>
#include <utility>

namespace underpass {
namespace {

// Shorter than the plugin waits, so that it hears the reason.
constexpr auto kPatience = std::chrono::seconds(10);

// One that no agent will ever enrol starts without it; `underpassctl pods` and an Event say why.
bool never_enrolled(const model::Pod& pod) { return pod.host_network || pod.other_mesh || pod.terminated; }

std::string enrolment_path(const AdmissionOptions& options) {
  return options.state_dir + "/" + std::string(cni::kEnrolmentName);
}

const compile::PodStatus* find_status(std::span<const compile::PodStatus> pods, const NamespacedName& id) {
  const auto found = std::ranges::find(pods, id, &compile::PodStatus::id);
  return found == pods.end() ? nullptr : &*found;
}

}  // namespace

Admission::Admission(AdmissionOptions options, Hooks hooks) : options_(std::move(options)), hooks_(std::move(hooks)) {}

Result<std::unique_ptr<Admission>> Admission::open(boost::asio::io_context& io, AdmissionOptions options, Hooks hooks,
                                                   UniqueFd handed) {
  std::unique_ptr<Admission> out(new Admission(std::move(options), std::move(hooks)));
  auto* const self = out.get();
  const auto& own = self->options_;
  const auto enrolment = enrolment_path(own);
  const auto socket = own.run_dir + "/" + std::string(cni::kSocketName);
  if (auto known = cni::read_enrolment(enrolment); known && *known) {
    self->enrolment_ = std::move(**known);
    self->enrolment_known_ = true;
  }
  auto server = cni::Server::listen(
      io, socket,
      [self](cni::Question question, const cni::Server::Reply& reply) { self->take(std::move(question), reply); }, {},
      std::move(handed));
  if (!server) return std::unexpected(server.error());
  self->server_ = std::move(*server);
  const auto report = [self] {
    if (!self->installer_) return;  // in start()
    const auto problem = self->installer_->problem();
    if (problem.empty())
      spdlog::info("cni-installed configuration={}", self->installer_->configuration());
    else if (problem != self->install_problem_)
      spdlog::warn("cni-not-installed reason=\"{}\"", problem);
    self->install_problem_ = problem;
  };
  self->installer_ = cni::Installer::start(io,
                                           {.plugin = own.plugin,
                                            .bin_dir = own.bin_dir,
                                            .conf_dir = own.conf_dir,
                                            .socket = socket,
                                            .enrolment = enrolment},
                                           report);
  report();
  return out;
}

const model::Pod* Admission::find_pod(const cni::Request& request, const model::Snapshot& snapshot) const {
  const auto found = snapshot.pods.find(request.pod);
  if (found == snapshot.pods.end() || found->second.node_name != options_.node_name) return nullptr;
  const auto& pod = found->second;
  // One of the same name that is gone, or not here yet.
  const bool same = request.uid.empty() || request.uid == pod.uid || request.uid == pod.cgroup_uid;
  return same ? &pod : nullptr;
}

void Admission::take(cni::Question question, const cni::Server::Reply& reply) {
  const auto& request = question.request;
  if (request.command == cni::Command::kDel) {
    std::erase_if(waiting_, [&](const Waiting& waiting) {
      if (waiting.question.request.container_id != request.container_id) return false;
      waiting.reply({.ok = false, .reason = "its sandbox is being removed"});
      return true;
    });
    end_sandbox(request.container_id);
    return reply({.ok = true, .reason = ""});
  }
  waiting_.push_back({.question = std::move(question), .reply = reply, .until = Clock::now() + kPatience});
  hooks_.recompile();
}

void Admission::end_sandbox(const std::string& container_id) {
  std::erase_if(sandboxes_, [&](const auto& sandbox) {
    if (sandbox.second != container_id) return false;
    hooks_.take_back(sandbox.first);
    return true;
  });
}

bool Admission::update(const View& view) {
  if (view.synced && hand_over(view)) return true;
  answer(view);
  if (!view.synced) return false;
  forget_sandboxes(view.snapshot);
  keep_enrolment(view);
  return false;
}

// Of pods that are gone.
void Admission::forget_sandboxes(const model::Snapshot& snapshot) {
  if (sandboxes_.empty()) return;
  std::set<std::string> here;
  for (const auto& [id, pod] : snapshot.pods) here.insert(pod.cgroup_uid);
  std::erase_if(sandboxes_, [&](const auto& sandbox) { return !here.contains(sandbox.first); });
}

bool Admission::hand_over(const View& view) {
  bool any = false;
  for (auto& waiting : waiting_) {
    auto& [request, netns] = waiting.question;
    if (request.command != cni::Command::kAdd || !netns) continue;
    const auto* pod = find_pod(request, view.snapshot);
    if (pod == nullptr) continue;
    hooks_.hand_over(pod->cgroup_uid, std::move(netns), request.ips);
    sandboxes_[pod->cgroup_uid] = request.container_id;
    any = true;
  }
  return any;
}

void Admission::answer(const View& view) {
  std::erase_if(waiting_, [&](const Waiting& waiting) {
    const auto answer = decide(waiting, view);
    if (!answer) return false;
    const auto& request = waiting.question.request;
    if (!answer->ok) spdlog::warn("pod-held pod={} reason=\"{}\"", request.pod.to_string(), answer->reason);
    waiting.reply(*answer);
    return true;
  });
}

// Nothing: not yet.
std::optional<cni::Answer> Admission::decide(const Waiting& waiting, const View& view) const {
  const auto& request = waiting.question.request;
  const bool late = Clock::now() >= waiting.until;
  const cni::Answer yes{.ok = true, .reason = ""};
  if (view.detached) return yes;
  if (!view.synced) {
    if (enrolment_known_ && !enrolment_.wants(request.pod)) return yes;
    if (!late) return std::nullopt;
    return cni::Answer{.ok = false, .reason = "the agent has not heard from the API server yet"};
  }
  const auto* pod = find_pod(request, view.snapshot);
  if (pod == nullptr) {
    if (!late) return std::nullopt;
    if (!enrolment_.wants(request.pod)) return yes;
    return cni::Answer{.ok = false, .reason = "the API server has not told the agent of this pod yet"};
  }
  // Of a new namespace the pods may be told of before its label.
  if (!late && !view.snapshot.namespaces.contains(request.pod.ns)) return std::nullopt;
  const auto* status = find_status(view.pods, request.pod);
  if (status == nullptr) return late ? std::optional(yes) : std::nullopt;
  const bool in_force = view.dataplane != nullptr && view.dataplane->is_in_force(status->netns_cookie, status->ips);
  if (status->enrolled && in_force) return yes;
  if (!status->enrolled && (!status->refused || never_enrolled(*pod))) return yes;
  if (!late) return std::nullopt;
  return cni::Answer{.ok = false,
                     .reason = status->enrolled ? "its rows cannot be written to the BPF maps; see `underpassctl "
                                                  "status` on the node"
                                                : status->reason};
}

void Admission::keep_enrolment(const View& view) {
  cni::Enrolment now;
  for (const auto& [name, ns] : view.snapshot.namespaces)
    if (ns.settings.mesh.value_or(false)) now.namespaces.insert(name);
  for (const auto& [id, pod] : view.snapshot.pods)
    if (pod.node_name == options_.node_name && pod.settings.mesh) now.pods.emplace(id, *pod.settings.mesh);
  if (view.detached) now = {};
  if (enrolment_known_ && now == enrolment_) return;
  const auto done = cni::write_enrolment(enrolment_path(options_), now);
  if (!done && done.error().message != save_problem_) spdlog::error("save-failed {}", done.error().message);
  save_problem_ = done ? "" : done.error().message;
  enrolment_ = std::move(now);
  enrolment_known_ = done.has_value();
}

void Admission::uninstall(const AdmissionOptions& options) {
  const auto gone = cni::uninstall({.plugin = "", .bin_dir = options.bin_dir, .conf_dir = options.conf_dir});
  if (!gone) spdlog::error("cni-not-removed {}", gone.error().message);
  if (gone && !gone->left.empty()) spdlog::warn("cni-left reason=\"{}\"", gone->left);
  if (auto done = cni::remove_enrolment(enrolment_path(options)); !done)
    spdlog::error("cni-not-removed {}", done.error().message);
}

std::vector<std::string> Admission::problems() const {
  std::vector<std::string> out;
  if (!installer_->problem().empty()) out.push_back("CNI plugin: " + installer_->problem());
  if (!save_problem_.empty()) out.push_back("CNI plugin: " + save_problem_);
  return out;
}

}  // namespace underpass
