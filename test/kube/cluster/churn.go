// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"os"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
)

// What churn has done, printed as one JSON object.
type churned struct {
	Labels    int64   `json:"labels"`
	Readiness int64   `json:"readiness"`
	Slices    int64   `json:"slices"`
	Errors    int64   `json:"errors"`
	FirstErr  string  `json:"firstError,omitempty"`
	Seconds   float64 `json:"seconds"`
	SlowestMs int64   `json:"slowestMs"`
}

type churner struct {
	client *kubernetes.Clientset
	pods   []corev1.Pod
	slices []discoveryv1.EndpointSlice // of nobody: those of the controller follow the pods by themselves

	labels, readiness, changedSlices, errors, slowest atomic.Int64
	first                                             sync.Once
	firstError                                        string
}

// churn makes random changes of the pods and endpoint slices that are there, at an even rate: labels of pods, their
// readiness, one endpoint of a slice. The choice follows from --seed.
func churn(ctx context.Context, args []string) error {
	flags, kubeconfig := newFlags("churn")
	rate := flags.Int("rate", 50, "changes a second")
	duration := flags.Duration("duration", 10*time.Second, "how long")
	seed := flags.Uint64("seed", 1, "of the random choice")
	selector := flags.String("selector", "", "only pods and slices with these labels")
	kinds := flags.StringSlice("kinds", []string{"labels", "readiness", "slices"}, "which changes")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientConfig(*kubeconfig)
	if err != nil {
		return err
	}
	c := &churner{}
	if c.client, err = kubernetes.NewForConfig(config); err != nil {
		return err
	}
	if err := c.find(ctx, metav1.ListOptions{LabelSelector: *selector}); err != nil {
		return err
	}
	changes, err := c.changes(*kinds)
	if err != nil {
		return err
	}
	took := c.run(ctx, changes, rand.New(rand.NewPCG(*seed, 0)), *rate, *duration)
	return json.NewEncoder(os.Stdout).Encode(churned{
		c.labels.Load(), c.readiness.Load(), c.changedSlices.Load(), c.errors.Load(), c.firstError, took.Seconds(),
		c.slowest.Load(),
	})
}

func (c *churner) find(ctx context.Context, which metav1.ListOptions) error {
	pods, err := c.client.CoreV1().Pods("").List(ctx, which)
	if err != nil {
		return err
	}
	c.pods = pods.Items
	slices, err := c.client.DiscoveryV1().EndpointSlices("").List(ctx, which)
	if err != nil {
		return err
	}
	for _, slice := range slices.Items {
		if slice.Labels[discoveryv1.LabelManagedBy] == "" && len(slice.Endpoints) > 0 {
			c.slices = append(c.slices, slice)
		}
	}
	return nil
}

// A change is drawn in order, and then made beside others.
type change func(random *rand.Rand, n int64) func(context.Context) error

// changes leaves out what there is no object for.
func (c *churner) changes(kinds []string) ([]change, error) {
	var all []change
	for _, kind := range kinds {
		switch {
		case kind == "labels" && len(c.pods) > 0:
			all = append(all, c.changeLabel)
		case kind == "readiness" && len(c.pods) > 0:
			all = append(all, c.changeReadiness)
		case kind == "slices" && len(c.slices) > 0:
			all = append(all, c.changeSlice)
		case kind != "labels" && kind != "readiness" && kind != "slices":
			return nil, fmt.Errorf("--kinds %s: unknown", kind)
		}
	}
	if len(all) == 0 {
		return nil, fmt.Errorf("nothing to change: no pods, no slices for %s", strings.Join(kinds, ", "))
	}
	return all, nil
}

func (c *churner) run(ctx context.Context, changes []change, random *rand.Rand, rate int, duration time.Duration) time.Duration {
	start := time.Now()
	ticks := time.NewTicker(time.Second / time.Duration(rate))
	defer ticks.Stop()
	var running sync.WaitGroup
	for n := int64(0); n < int64(duration.Seconds()*float64(rate)) && ctx.Err() == nil; n++ {
		<-ticks.C
		make := changes[random.IntN(len(changes))](random, n)
		running.Go(func() { c.count(ctx, make) })
	}
	running.Wait()
	return time.Since(start)
}

func (c *churner) count(ctx context.Context, make func(context.Context) error) {
	start := time.Now()
	if err := make(ctx); err != nil {
		c.errors.Add(1)
		c.first.Do(func() { c.firstError = err.Error() })
	}
	took := time.Since(start).Milliseconds()
	for seen := c.slowest.Load(); took > seen && !c.slowest.CompareAndSwap(seen, took); seen = c.slowest.Load() {
	}
}

func (c *churner) changeLabel(random *rand.Rand, n int64) func(context.Context) error {
	pod := c.pods[random.IntN(len(c.pods))]
	patch := fmt.Appendf(nil, `{"metadata":{"labels":{"churn":"%d"}}}`, n)
	return func(ctx context.Context) error {
		_, err := c.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.MergePatchType, patch, metav1.PatchOptions{})
		if err == nil {
			c.labels.Add(1)
		}
		return err
	}
}

func (c *churner) changeReadiness(random *rand.Rand, _ int64) func(context.Context) error {
	pod := c.pods[random.IntN(len(c.pods))]
	patch := fmt.Appendf(nil, `{"status":{"conditions":[{"type":"Ready","status":"%s"}]}}`, truth(random.IntN(4) != 0))
	return func(ctx context.Context) error {
		_, err := c.client.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, patch,
			metav1.PatchOptions{}, "status")
		if err == nil {
			c.readiness.Add(1)
		}
		return err
	}
}

func truth(is bool) corev1.ConditionStatus {
	if is {
		return corev1.ConditionTrue
	}
	return corev1.ConditionFalse
}

func (c *churner) changeSlice(random *rand.Rand, _ int64) func(context.Context) error {
	slice := c.slices[random.IntN(len(c.slices))]
	endpoint := random.IntN(len(slice.Endpoints))
	patch := fmt.Appendf(nil, `[{"op":"add","path":"/endpoints/%d/conditions/ready","value":%t}]`, endpoint, random.IntN(4) != 0)
	return func(ctx context.Context) error {
		_, err := c.client.DiscoveryV1().EndpointSlices(slice.Namespace).Patch(ctx, slice.Name, types.JSONPatchType, patch,
			metav1.PatchOptions{})
		if err == nil {
			c.changedSlices.Add(1)
		}
		return err
	}
}
