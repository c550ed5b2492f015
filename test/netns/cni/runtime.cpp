// SPDX-License-Identifier: Apache-2.0
#include "test/netns/cni/runtime.h"

#include <unistd.h>

#include <algorithm>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <ranges>
#include <stdexcept>
#include <system_error>

#include "test/support/files.h"

namespace underpass::test {
namespace {

namespace json = boost::json;

std::string text_of(const json::object& object, const char* name) {
  const auto* value = object.if_contains(name);
  return value != nullptr && value->is_string() ? std::string(value->get_string()) : "";
}

std::optional<CniList> load_file(const fs::path& path) {
  std::string text;
  try {
    text = read_file(path);
  } catch (const std::exception&) {  // it went
    return std::nullopt;
  }
  json::error_code error;
  const auto value = json::parse(text, error);
  if (error || !value.is_object()) return std::nullopt;
  const auto& object = value.get_object();
  CniList list{.file = path.filename(),
               .name = text_of(object, "name"),
               .version = text_of(object, "cniVersion"),
               .plugins = {}};
  if (path.extension() == ".conflist") {
    const auto* plugins = object.if_contains("plugins");
    if (plugins == nullptr || !plugins->is_array()) return std::nullopt;
    list.plugins = plugins->get_array();
  } else if (!text_of(object, "type").empty()) {
    list.plugins.push_back(value);
  }
  if (list.name.empty() || list.plugins.empty()) return std::nullopt;
  return list;
}

std::string base64(std::string_view text) {
  constexpr std::string_view kDigits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
  std::string out;
  for (std::size_t at = 0; at < text.size(); at += 3) {
    std::uint32_t bits = 0;
    for (std::size_t i = 0; i < 3; ++i)
      bits = bits << 8U | (at + i < text.size() ? static_cast<unsigned char>(text[at + i]) : 0U);
    for (std::size_t i = 0; i < 4; ++i)
      out.push_back(at + i <= text.size() ? kDigits[bits >> (18 - 6 * i) & 63U] : '=');
  }
  return out;
}

}  // namespace

std::vector<std::string> CniList::types() const {
  std::vector<std::string> out;
  for (const auto& plugin : plugins) out.push_back(text_of(plugin.as_object(), "type"));
  return out;
}

std::optional<CniList> CniRuntime::load(const fs::path& conf_dir) {
  std::vector<fs::path> files;
  for (const auto& entry : fs::directory_iterator(conf_dir)) {
    const auto extension = entry.path().extension();
    if (extension == ".conflist" || extension == ".conf" || extension == ".json") files.push_back(entry.path());
  }
  std::ranges::sort(files);
  for (const auto& file : files)
    if (auto list = load_file(file)) return list;
  return std::nullopt;
}

CniList CniRuntime::load() const {
  std::optional<CniList> list;
  if (!eventually(seconds(2), [&] { return (list = load(folders_.conf)).has_value(); }))
    throw std::runtime_error(folders_.conf.string() + ": no valid list");
  return std::move(*list);
}

std::optional<fs::path> CniRuntime::find(const std::string& type) const {
  for (const auto& folder : folders_.bin)
    if (::access((folder / type).c_str(), X_OK) == 0) return folder / type;
  return std::nullopt;
}

bool CniRuntime::has_programs(const CniList& list) const {
  return std::ranges::all_of(list.types(), [this](const auto& type) { return find(type).has_value(); });
}

CniOutcome CniRuntime::run(const std::string& command, const CniList& list, const json::value& plugin,
                           const json::value* previous, const CniSandbox& sandbox) const {
  const auto type = text_of(plugin.as_object(), "type");
  const auto program = find(type);
  if (!program) return {.plugin = type, .message = "failed to find plugin " + type};
  auto config = plugin.as_object();
  config["name"] = list.name;
  config["cniVersion"] = list.version;
  if (previous != nullptr) config["prevResult"] = *previous;
  const auto done = test::run({.argv = {program->string()},
                               .env = {"CNI_COMMAND=" + command, "CNI_CONTAINERID=" + sandbox.id,
                                       "CNI_NETNS=" + sandbox.netns, "CNI_IFNAME=eth0", "CNI_ARGS=" + sandbox.args,
                                       "CNI_PATH=" + program->parent_path().string() + ":/usr/lib/cni"},
                               .netns = host_netns_,
                               .input = json::serialize(config)},
                              seconds(60));
  CniOutcome out{.ok = done.exit.ok(), .plugin = type, .message = done.out + done.err};
  json::error_code error;
  const auto said = json::parse(done.out, error);
  if (!out.ok && !error && said.is_object()) {
    out.code = static_cast<int>(said.at("code").as_int64());
    out.message = text_of(said.get_object(), "msg");
  } else if (out.ok && command == "ADD") {
    out.result = said;
    if (error || text_of(said.as_object(), "cniVersion") != list.version)
      return {.plugin = type, .message = "no result of version " + list.version + ": " + done.out};
  } else if (out.ok && !done.out.empty()) {
    return {.plugin = type, .message = command + " has no result, but: " + done.out};
  }
  return out;
}

CniOutcome CniRuntime::add(const CniSandbox& sandbox) {
  const auto list = load();
  CniOutcome out{.ok = true};
  for (const auto& plugin : list.plugins) {
    const auto previous = out.result;
    out = run("ADD", list, plugin, previous.is_null() ? nullptr : &previous, sandbox);
    if (!out.ok) return out;
  }
  const json::object made{{"name", list.name}, {"cniVersion", list.version}, {"plugins", list.plugins}};
  write_atomically(cache_file(sandbox.id),
                   json::serialize(json::object{{"kind", "cniCacheV1"}, {"config", base64(json::serialize(made))}}));
  const std::lock_guard lock(mutex_);
  cache_[sandbox.id] = {list, out.result};
  return out;
}

std::optional<CniRuntime::Cached> CniRuntime::cached(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto found = cache_.find(id);
  return found == cache_.end() ? std::nullopt : std::optional(found->second);
}

CniOutcome CniRuntime::check(const CniSandbox& sandbox) const {
  const auto made = cached(sandbox.id);
  if (!made) return {.message = "no such sandbox"};
  for (const auto& plugin : made->list.plugins)
    if (auto out = run("CHECK", made->list, plugin, &made->result, sandbox); !out.ok) return out;
  return {.ok = true};
}

fs::path CniRuntime::cache_file(const std::string& id) const {
  fs::create_directories(folders_.cache / "results");
  return folders_.cache / "results" / ("net-" + id + "-eth0");
}

CniOutcome CniRuntime::del(const CniSandbox& sandbox, EndsBy by) {
  const auto made = cached(sandbox.id);
  const auto list = made && by == EndsBy::kMadeWith ? made->list : load();
  for (const auto& plugin : list.plugins | std::views::reverse)
    if (auto out = run("DEL", list, plugin, made ? &made->result : nullptr, sandbox); !out.ok) return out;
  const std::lock_guard lock(mutex_);
  cache_.erase(sandbox.id);
  fs::remove(cache_file(sandbox.id));
  return {.ok = true};
}

}  // namespace underpass::test
