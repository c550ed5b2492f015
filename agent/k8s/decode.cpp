// SPDX-License-Identifier: Apache-2.0
// Which decoder an object takes, and what a List is made of. The decoders are in decode_objects.cpp.
#include "agent/k8s/decode.h"

#include <boost/json/value.hpp>
#include <optional>
#include <utility>

#include "agent/k8s/decode_metadata.h"
#include "agent/k8s/field.h"

namespace underpass::k8s {
namespace json = boost::json;

namespace {

struct Kind {
  std::string_view name;
  Scope scope;
};

// The kinds of ours in the core group.
constexpr Kind kKinds[] = {
    {"Namespace", Scope::kCluster},
    {"ServiceAccount", Scope::kNamespaced},
    {"Pod", Scope::kNamespaced},
};

const Kind* find_kind(std::string_view name) {
  for (const auto& kind : kKinds) {
    if (kind.name == name) return &kind;
  }
  return nullptr;
}

// The kind of a PodList's members where they do not say their own, as in the API server's answers; null: not one of
// ours.
const Kind* find_kind_of_list(std::string_view name) {
  return name.ends_with("List") ? find_kind(name.substr(0, name.size() - 4)) : nullptr;
}

template <typename T>
Decoded<Object> as_object(Decoded<T>&& decoded) {
  if (!decoded) return std::unexpected(std::move(decoded.error()));
  return Object(std::move(*decoded));
}

Decoded<Object> decode_as(std::string_view kind, const json::value& object, const DecodeOptions& options) {
  if (kind == "Namespace") return as_object(decode_namespace(object));
  if (kind == "ServiceAccount") return as_object(decode_service_account(object));
  return as_object(decode_pod(object, options));
}

class DocumentDecoder {
 public:
  DocumentDecoder(const DecodeOptions& options, File& file) : options_(options), file_(file) {}

  // `member_of`: the kind of the List's members where the object is in one, and it says itself neither kind nor
  // version.
  void decode(const json::value& object, const std::string& place, bool in_list, const Kind* member_of) {
    std::optional<DecodeError> error;
    const Field root(object, error);
    auto kind_name = root["kind"].string();
    auto version = root["apiVersion"].string();
    if (member_of != nullptr && !kind_name) kind_name = member_of->name;
    if (member_of != nullptr && !version) version = "v1";
    if (!error && !kind_name) root["kind"].refuse_field("missing: not a Kubernetes object");
    if (!error && !version) root["apiVersion"].refuse_field("missing: not a Kubernetes object");
    if (error) return refuse(place, "", *error);
    if (version->contains('/')) return;  // another group's

    const Kind* kind = find_kind(*kind_name);
    const Kind* members = find_kind_of_list(*kind_name);
    const bool is_list = *kind_name == "List" || members != nullptr;
    if (kind == nullptr && !is_list) return;
    if (*version != "v1") {
      root["apiVersion"].refuse("must be \"v1\"");
      return refuse(place, *kind_name, *error);
    }
    if (!is_list) return decode_one(object, *kind, place);
    if (in_list) return refuse(place, *kind_name, {"", "a list inside a list"});
    decode_list(object, place, *kind_name, members);
  }

 private:
  void decode_one(const json::value& object, const Kind& kind, const std::string& place) {
    std::optional<DecodeError> error;
    auto id = decode_id(Field(object, error)["metadata"], kind.scope);
    if (error) return refuse(place, kind.name, *error);
    file_.items.push_back({std::string(kind.name), std::move(id), place, decode_as(kind.name, object, options_)});
  }

  void decode_list(const json::value& object, const std::string& place, std::string_view kind, const Kind* members) {
    std::optional<DecodeError> error;
    const auto items = Field(object, error)["items"];
    static_cast<void>(items.elements());
    if (error) return refuse(place, kind, *error);
    if (!items.present()) return;
    std::size_t index = 0;
    for (const auto& item : object.at("items").as_array()) {
      decode(item, place + " items[" + std::to_string(index++) + "]", /*in_list=*/true, members);
    }
  }

  void refuse(const std::string& place, std::string_view kind, const DecodeError& error) {
    std::string cause;
    if (!kind.empty()) cause += std::string(kind) + ": ";
    if (!error.path.empty()) cause += error.path + ": ";
    file_.unreadable.push_back({place, cause + error.cause});
  }

  const DecodeOptions& options_;
  File& file_;
};

}  // namespace

void decode_document(const json::value& document, const std::string& place, const DecodeOptions& options, File& file) {
  if (document.is_null()) return;  // nothing between two "---"
  DocumentDecoder(options, file).decode(document, place, /*in_list=*/false, nullptr);
}

std::string object_name(const std::string& kind, const NamespacedName& id) {
  return kind + " " + (id.ns.empty() ? id.name : id.to_string());
}

Error describe(const std::string& kind, const NamespacedName& id, const DecodeError& error) {
  return {object_name(kind, id) + ": " + (error.path.empty() ? "" : error.path + ": ") + error.cause};
}

}  // namespace underpass::k8s
