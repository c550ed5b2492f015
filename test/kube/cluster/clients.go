// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/discovery"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/restmapper"
	"k8s.io/client-go/tools/clientcmd"
)

// newFlags gives a program its flag set, with the one that all of them have.
func newFlags(name string) (*pflag.FlagSet, *string) {
	flags := pflag.NewFlagSet(name, pflag.ContinueOnError)
	return flags, flags.String("kubeconfig", "", "how to reach the API server")
}

// clientConfig reads a kubeconfig. Requests are not held back on our side.
func clientConfig(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, err
	}
	config.QPS = -1
	return config, nil
}

// objectClient writes objects of any kind that the server has.
type objectClient struct {
	dynamic dynamic.Interface
	mapper  *restmapper.DeferredDiscoveryRESTMapper
}

func newObjectClient(config *rest.Config) (*objectClient, error) {
	client, err := dynamic.NewForConfig(config)
	if err != nil {
		return nil, err
	}
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return nil, err
	}
	return &objectClient{client, restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(kinds))}, nil
}

// waitReady ends when the server says that it is ready (bootstrap roles are there), and the namespaces are there that a
// cluster has from its beginning; with --controllers also what these put into each.
func waitReady(ctx context.Context, args []string) error {
	flags, kubeconfig := newFlags("wait")
	deadline := flags.Duration("deadline", 30*time.Second, "how long")
	controllers := flags.Bool("controllers", false, "they run too")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientConfig(*kubeconfig)
	if err != nil {
		return err
	}
	config.Timeout = 2 * time.Second
	kinds, err := discovery.NewDiscoveryClientForConfig(config)
	if err != nil {
		return err
	}
	paths := []string{"/readyz", "/api/v1/namespaces/default", "/api/v1/namespaces/kube-system"}
	if *controllers {
		for _, namespace := range paths[1:] {
			paths = append(paths, namespace+"/serviceaccounts/default", namespace+"/configmaps/kube-root-ca.crt")
		}
	}
	var last error
	err = wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, *deadline, true, func(ctx context.Context) (bool, error) {
		for _, path := range paths {
			if last = kinds.RESTClient().Get().AbsPath(path).Do(ctx).Error(); last != nil {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		return fmt.Errorf("%s: not ready: %w (last answer: %v)", config.Host, err, last)
	}
	return nil
}
