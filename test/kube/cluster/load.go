// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bufio"
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"k8s.io/client-go/dynamic"
	"sigs.k8s.io/yaml"
)

// One line of the output for each object of the input, in its order.
type loaded struct {
	Kind      string `json:"kind"`
	Namespace string `json:"namespace,omitempty"`
	Name      string `json:"name"`
	UID       string `json:"uid,omitempty"`
	Error     string `json:"error,omitempty"`
}

// How long objects wait for what a controller makes: a pod for the ServiceAccount default of a new namespace. After an
// outage of the API server controllers may need half a minute to watch anew.
const patience = 90 * time.Second

// load brings the objects of its input (YAML or JSON documents, "---" between them) into the cluster, many at a time,
// by server-side apply: what it wrote before and is no longer in the document goes. A status is written too, which
// kubectl apply does not do. With --delete the objects go.
func load(ctx context.Context, args []string) error {
	flags, kubeconfig := newFlags("load")
	remove := flags.Bool("delete", false, "delete the objects instead; those that are not there are no error")
	grace := flags.Int64("grace", 0, "with --delete: seconds of grace; pods keep them until a kubelet ends them")
	workers := flags.Int("workers", 16, "how many requests at a time")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientConfig(*kubeconfig)
	if err != nil {
		return err
	}
	client, err := newObjectClient(config)
	if err != nil {
		return err
	}
	objects, err := readObjects(os.Stdin)
	if err != nil {
		return err
	}
	write := client.apply
	if *remove {
		write = func(ctx context.Context, object *unstructured.Unstructured) (string, error) {
			return "", client.remove(ctx, object, *grace)
		}
	}
	results := make([]loaded, len(objects))
	for stage := range stages {
		var free = make(chan struct{}, *workers)
		var running sync.WaitGroup
		for i, object := range objects {
			if stageOf(object) != stage {
				continue
			}
			free <- struct{}{}
			running.Go(func() {
				defer func() { <-free }()
				results[i] = loaded{Kind: object.GetKind(), Namespace: object.GetNamespace(), Name: object.GetName()}
				uid, err := write(ctx, object)
				results[i].UID = uid
				if err != nil {
					results[i].Error = err.Error()
				}
			})
		}
		running.Wait()
	}
	return report(results)
}

func report(results []loaded) error {
	var failed []error
	out := bufio.NewWriter(os.Stdout)
	defer out.Flush()
	lines := json.NewEncoder(out)
	for _, result := range results {
		if err := lines.Encode(result); err != nil {
			return err
		}
		if result.Error != "" {
			failed = append(failed, fmt.Errorf("%s %s/%s: %s", result.Kind, result.Namespace, result.Name, result.Error))
		}
	}
	return errors.Join(failed...)
}

func readObjects(in io.Reader) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	documents := utilyaml.NewYAMLReader(bufio.NewReader(in))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return objects, nil
		}
		if err != nil {
			return nil, err
		}
		if len(bytes.TrimSpace(document)) == 0 {
			continue
		}
		object := &unstructured.Unstructured{}
		if err := yaml.Unmarshal(document, &object.Object); err != nil {
			return nil, fmt.Errorf("document %d: %w", len(objects), err)
		}
		if object.GetKind() == "" || object.GetName() == "" {
			return nil, fmt.Errorf("document %d: has no kind or no name", len(objects))
		}
		objects = append(objects, object)
	}
}

// Namespaces come first, pods last: these need a service account.
const stages = 3

func stageOf(object *unstructured.Unstructured) int {
	switch object.GetKind() {
	case "Namespace":
		return 0
	case "Pod":
		return 2
	}
	return 1
}

func (c *objectClient) resource(object *unstructured.Unstructured) (dynamic.ResourceInterface, error) {
	kind := object.GroupVersionKind()
	mapping, err := c.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return nil, err
	}
	resource := c.dynamic.Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		return resource.Namespace(object.GetNamespace()), nil
	}
	return resource, nil
}

// apply returns the object's uid.
func (c *objectClient) apply(ctx context.Context, object *unstructured.Unstructured) (string, error) {
	resource, err := c.resource(object)
	if err != nil {
		return "", err
	}
	options := metav1.ApplyOptions{FieldManager: "load", Force: true}
	desired := object.DeepCopy()
	unstructured.RemoveNestedField(desired.Object, "status")
	var written *unstructured.Unstructured
	for end := time.Now().Add(patience); ; {
		written, err = resource.Apply(ctx, object.GetName(), desired, options)
		if !waitsForController(err) || time.Now().After(end) {
			break
		}
		time.Sleep(20 * time.Millisecond)
	}
	if err != nil {
		return "", err
	}
	status, found := object.Object["status"]
	if !found {
		return string(written.GetUID()), nil
	}
	bare := &unstructured.Unstructured{Object: map[string]any{"status": status}}
	bare.SetGroupVersionKind(object.GroupVersionKind())
	bare.SetName(object.GetName())
	bare.SetNamespace(object.GetNamespace())
	if _, err := resource.ApplyStatus(ctx, object.GetName(), bare, options); err != nil {
		return "", fmt.Errorf("status: %w", err)
	}
	return string(written.GetUID()), nil
}

func waitsForController(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "error looking up service account")
}

func (c *objectClient) remove(ctx context.Context, object *unstructured.Unstructured, grace int64) error {
	resource, err := c.resource(object)
	if err != nil {
		return err
	}
	err = resource.Delete(ctx, object.GetName(), metav1.DeleteOptions{GracePeriodSeconds: &grace})
	if apierrors.IsNotFound(err) {
		return nil
	}
	return err
}
