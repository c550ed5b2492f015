// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"os"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/client-go/discovery/cached/memory"
	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/metadata"
	"k8s.io/client-go/metadata/metadatainformer"
	"k8s.io/client-go/restmapper"
	"k8s.io/controller-manager/pkg/informerfactory"
	"k8s.io/klog/v2"
	"k8s.io/kubernetes/pkg/controller/certificates/rootcacertpublisher"
	"k8s.io/kubernetes/pkg/controller/endpointslice"
	"k8s.io/kubernetes/pkg/controller/garbagecollector"
	"k8s.io/kubernetes/pkg/controller/namespace"
	"k8s.io/kubernetes/pkg/controller/serviceaccount"
)

// runControllers runs the controllers without which a cluster's objects do not behave as an agent knows them: namespaces
// that empty and end, ServiceAccount default and ConfigMap kube-root-ca.crt in each, endpoint slices that follow the
// pods, dependents that go with their owners. They are started from their packages: the controller manager itself
// would compile several times as much.
func runControllers(ctx context.Context, args []string) error {
	flags, kubeconfig := newFlags("controllers")
	rootCA := flags.String("root-ca-file", "", "what kube-root-ca.crt holds")
	if err := flags.Parse(args); err != nil {
		return err
	}
	ca, err := os.ReadFile(*rootCA)
	if err != nil {
		return err
	}
	config, err := clientConfig(*kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	objects, err := metadata.NewForConfig(config)
	if err != nil {
		return err
	}
	shared := informers.NewSharedInformerFactory(client, 12*time.Hour)
	core := shared.Core().V1()

	accounts, err := serviceaccount.NewServiceAccountsController(klog.FromContext(ctx), core.ServiceAccounts(),
		core.Namespaces(), client, serviceaccount.DefaultServiceAccountsControllerOptions())
	if err != nil {
		return err
	}
	roots, err := rootcacertpublisher.NewPublisher(core.ConfigMaps(), core.Namespaces(), client, ca)
	if err != nil {
		return err
	}
	slices := endpointslice.NewController(ctx, core.Pods(), core.Services(), core.Nodes(),
		shared.Discovery().V1().EndpointSlices(), 100, client, 0)
	namespaces := namespace.NewNamespaceController(ctx, client, objects,
		client.Discovery().ServerPreferredNamespacedResources, core.Namespaces(), 5*time.Minute, corev1.FinalizerKubernetes)

	started := make(chan struct{})
	mapper := restmapper.NewDeferredDiscoveryRESTMapper(memory.NewMemCacheClient(client.Discovery()))
	all := informerfactory.NewInformerFactory(shared, metadatainformer.NewSharedInformerFactory(objects, 12*time.Hour))
	garbage, err := garbagecollector.NewGarbageCollector(ctx, client, objects, mapper,
		garbagecollector.DefaultIgnoredResources(), all, started)
	if err != nil {
		return err
	}

	all.Start(ctx.Done())
	close(started)
	var running sync.WaitGroup
	running.Go(func() { accounts.Run(ctx, 1) })
	running.Go(func() { roots.Run(ctx, 1) })
	running.Go(func() { slices.Run(ctx, 5) })
	running.Go(func() { namespaces.Run(ctx, 5) })
	running.Go(func() { garbage.Run(ctx, 5, 30*time.Second) })
	running.Go(func() { garbage.Sync(ctx, client.Discovery(), 5*time.Second) })
	running.Wait()
	return nil
}
