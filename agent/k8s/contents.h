// SPDX-License-Identifier: Apache-2.0
// What a source has at this moment: every object of ours that its texts hold, decoded or refused. A source makes it and
// state/ turns it into a snapshot; which older version of an object stays in force is decided there.
#pragma once

#include <expected>
#include <memory>
#include <optional>
#include <string>
#include <variant>
#include <vector>

#include "underpass/ids.h"
#include "underpass/model/objects.h"

namespace underpass::k8s {

using Object =
    std::variant<model::Namespace, model::ServiceAccount, model::Pod, std::shared_ptr<const model::Service>,
                 std::shared_ptr<const model::EndpointSlice>, model::Node,
                 std::shared_ptr<const model::AuthorizationPolicy>, std::shared_ptr<const model::PeerAuthentication>,
                 std::shared_ptr<const model::RequestAuthentication>, std::shared_ptr<const model::NodeWorkloads>,
                 model::MeshConfig>;

// Why an object was refused: the field ("status.podIP") and what is wrong with it ("\"10.0.0\": not an IP address").
struct DecodeError {
  std::string path;
  std::string cause;
};

template <typename T>
using Decoded = std::expected<T, DecodeError>;

// One object of a source. Kind and id are known even where the rest does not decode.
struct Item {
  std::string kind;
  NamespacedName id;  // ns is empty for a Namespace, a Node, NodeWorkloads and a Mesh
  std::string place;  // where its text stands: "/etc/mesh/a.yaml:14"
  Decoded<Object> object;
  std::string uid = {};  // metadata.uid; empty where there is none
};

// A text of which not even kind and name could be told.
struct Unreadable {
  std::string place;
  std::string cause;
};

struct File {
  std::string path;
  std::vector<Item> items;
  std::vector<Unreadable> unreadable;
};

// Of the API source each object is a file of its own, "/api/v1/namespaces/shop/pods/web".
struct Contents {
  // In the order in which duplicates are settled: the first one wins. No two have the same path. A file that did not
  // change is the same object as the last time.
  std::vector<std::shared_ptr<const File>> files;
  std::optional<Unreadable> lost;  // the source itself is gone; `files` is what it had last
};

// "Pod shop/web", "Namespace shop".
std::string object_name(const std::string& kind, const NamespacedName& id);

}  // namespace underpass::k8s
