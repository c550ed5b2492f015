// SPDX-License-Identifier: Apache-2.0
#include "agent/ca/upkeep.h"

#include <algorithm>
#include <functional>
#include <utility>

#include "agent/ca/details.h"
#include "agent/ca/issue.h"

namespace underpass::ca {
namespace {

// When a certificate of ours was made.
WallTime made_at(const CertificatePtr& certificate) { return not_before(certificate) + kBackdated; }

bool is_over(const CertificatePtr& certificate, WallTime now) { return now >= not_after(certificate); }

Result<Files> intermediate_files(const KeyPair& root, const UpkeepOptions& options, WallTime now) {
  auto made = make_intermediate(root, {.now = now, .lasts = options.intermediate_life});
  if (!made) return std::unexpected(made.error());
  const std::vector own{made->certificate};
  return Files{{kCaCert, to_pem(own)}, {kCertChain, to_pem(own)}, {kCaKey, to_pem(made->key)}};
}

Result<Files> new_authority(const UpkeepOptions& options, WallTime now) {
  auto root = make_root({.now = now, .lasts = options.root_life});
  if (!root) return std::unexpected(root.error());
  auto files = intermediate_files(*root, options, now);
  if (!files) return files;
  const std::vector bundle{root->certificate};
  files->emplace(kRootCert, to_pem(bundle));
  files->emplace(kRootKey, to_pem(root->key));
  return files;
}

// --- what is due, and when; each step is safe to be asked for again
// -----------------------------------------------------------------------

WallTime renewal_at(const Authority& authority, WallTime now) {
  const auto& certificate = authority.issuer.certificate;
  return now < not_before(certificate) ? now : half_life(certificate);  // the clock went back
}

// A new intermediate would end when the root does, as the present one.
bool gains_by_renewal(const Authority& authority, WallTime now) {
  return now < not_before(authority.issuer.certificate) ||
         not_after(authority.issuer.certificate) < not_after(authority.root->certificate);
}

WallTime switch_at(const Authority& authority, const UpkeepOptions& options, WallTime now) {
  if (is_over(authority.root->certificate, now)) return now;  // nobody believes the old one any more
  return made_at(authority.next_root->certificate) + options.overlap;
}

WallTime retire_at(const Authority& authority, const UpkeepOptions& options) {
  return made_at(authority.issuer.certificate) + options.svid_life + options.overlap;
}

struct Task {
  WallTime at;
  std::string name;  // "ca-renewed"
  std::function<Result<Files>()> files;
};

std::optional<Task> next_task(const Authority& authority, const UpkeepOptions& options, WallTime now) {
  if (!authority.root) return std::nullopt;
  std::vector<Task> all;
  if (authority.next_root) {
    all.push_back({switch_at(authority, options, now), "ca-root-changed", [&authority, &options, now] {
                     auto files = intermediate_files(*authority.next_root, options, now);
                     if (!files) return files;
                     files->emplace(kRootKey, to_pem(authority.next_root->key));
                     files->emplace(kNextRootKey, "");
                     const std::vector old{authority.root->certificate};
                     files->emplace(kOldRootCert, to_pem(old));
                     return files;
                   }});
  } else if (authority.retired) {
    all.push_back({retire_at(authority, options), "ca-old-root-removed", [&authority] {
                     auto bundle = authority.bundle;
                     std::erase_if(bundle, [&](const auto& one) { return same(one, *authority.retired); });
                     return Result<Files>(Files{{kRootCert, to_pem(bundle)}, {kOldRootCert, ""}});
                   }});
  }
  if (gains_by_renewal(authority, now) && out_of_time(authority.root->certificate, now).empty())
    all.push_back({renewal_at(authority, now), "ca-renewed",
                   [&authority, &options, now] { return intermediate_files(*authority.root, options, now); }});
  const auto first = std::ranges::min_element(all, {}, &Task::at);
  return first == all.end() ? std::nullopt : std::optional(*first);
}

Result<Authority> load(const AuthorityFiles& folder) {
  auto files = folder.read();
  if (!files) return std::unexpected(files.error());
  return parse_authority(folder, *files);
}

// More than the steps that can follow from one another.
constexpr int kMostTasks = 4;

Result<void> do_tasks(const AuthorityFiles& folder, const UpkeepOptions& options, WallTime now, Opened& out) {
  for (int i = 0; i < kMostTasks; ++i) {
    const auto task = next_task(out.authority, options, now);
    if (!task || task->at > now) return {};
    auto files = task->files();
    if (!files) return std::unexpected(files.error());
    if (auto done = folder.replace(*files); !done) return done;
    out.done.push_back(task->name + " folder=" + folder.path());
    auto loaded = load(folder);
    if (!loaded) return std::unexpected(loaded.error());
    out.authority = std::move(*loaded);
  }
  return {};
}

Result<void> make(const AuthorityFiles& folder, const UpkeepOptions& options, WallTime now, Opened& out) {
  auto files = new_authority(options, now);
  if (!files) return std::unexpected(files.error());
  if (auto done = folder.replace(*files); !done) return done;
  out.done.push_back("ca-made folder=" + folder.path());
  return {};
}

}  // namespace

WallTime half_life(const CertificatePtr& certificate) {
  const auto made = made_at(certificate);
  return made + (not_after(certificate) - made) / 2;
}

Result<Opened> open_authority(const AuthorityFiles& folder, const UpkeepOptions& options, WallTime now, bool may_make) {
  Opened out;
  auto files = folder.read();
  const bool is_ours = files && (files->empty() ? may_make : files->contains(kRootKey));
  Result<UniqueFd> lock = fail("not locked");
  if (is_ours || folder.has_lock()) {
    lock = folder.lock();
    if (lock)
      if (auto done = folder.finish(); !done) return std::unexpected(done.error());
    files = folder.read();  // as it is with the lock held
  }
  if (!files) return std::unexpected(files.error());
  if (files->empty() && !may_make)
    return fail(folder.path() + ": is gone, or empty, and was not when it was read last");
  if (files->empty()) {
    if (!lock) return std::unexpected(lock.error());
    if (auto done = make(folder, options, now, out); !done) return std::unexpected(done.error());
    files = folder.read();
    if (!files) return std::unexpected(files.error());
  }
  auto parsed = parse_authority(folder, *files);
  if (!parsed) return std::unexpected(parsed.error());
  out.authority = std::move(*parsed);
  if (out.authority.root) {
    const auto done = lock ? do_tasks(folder, options, now, out) : std::unexpected(lock.error());
    if (!done) out.problem = done.error().message;
  }
  if (auto good = check_authority(folder, out.authority, now); !good) return std::unexpected(good.error());
  if (const auto task = next_task(out.authority, options, now)) out.next = task->at;
  return out;
}

Result<void> rotate_root(const AuthorityFiles& folder, const UpkeepOptions& options, WallTime now) {
  auto files = folder.read();
  if (!files) return std::unexpected(files.error());
  if (!files->contains(kRootKey))
    return fail(folder.path() + ": has no " + kRootKey + ": its root is replaced by whoever has that key");
  auto lock = folder.lock();
  if (!lock) return std::unexpected(lock.error());
  if (auto done = folder.finish(); !done) return done;
  auto authority = load(folder);
  if (!authority) return std::unexpected(authority.error());
  if (!authority->root) return fail(folder.path() + ": has no " + kRootKey);
  if (authority->next_root || authority->retired)
    return fail(folder.path() + ": a root is being replaced already; `underpassctl certs` shows how far it is");
  auto root = make_root({.now = now, .lasts = options.root_life});
  if (!root) return std::unexpected(root.error());
  auto bundle = authority->bundle;
  bundle.push_back(root->certificate);
  return folder.replace({{kRootCert, to_pem(bundle)}, {kNextRootKey, to_pem(root->key)}});
}

}  // namespace underpass::ca
