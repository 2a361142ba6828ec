package kubetest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/yaml"
)

// ReadManifests reads YAML documents, of one object each.
func ReadManifests(documents []byte) (all []*unstructured.Unstructured, err error) {
	d := yaml.NewYAMLToJSONDecoder(bytes.NewReader(documents))
	for {
		var o unstructured.Unstructured
		switch err := d.Decode(&o.Object); {
		case errors.Is(err, io.EOF):
			return all, nil
		case err != nil:
			return nil, err
		case len(o.Object) > 0:
			all = append(all, &o)
		}
	}
}

// Manifests is ReadManifests for tests.
func Manifests(t testing.TB, documents []byte) []*unstructured.Unstructured {
	t.Helper()
	all, err := ReadManifests(documents)
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// Apply is kubectl apply --server-side --validate=strict: what the API does not know of an object is an error. A dry run stores
// nothing. It returns the object as the API has it then.
func (c *Cluster) Apply(o *unstructured.Unstructured, dryRun bool) (*unstructured.Unstructured, error) {
	path, err := c.pathOf(o)
	if err != nil {
		return nil, err
	}
	q := url.Values{"fieldManager": {"kubetest"}, "fieldValidation": {"Strict"}, "force": {"true"}}
	if dryRun {
		q.Set("dryRun", "All")
	}
	into := new(unstructured.Unstructured)
	err = c.Try(Admin, http.MethodPatch, path+"/"+o.GetName()+"?"+q.Encode(), o.Object, &into.Object)
	return into, err
}

// Get returns an object as the API has it.
func (c *Cluster) Get(o *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	path, err := c.pathOf(o)
	if err != nil {
		return nil, err
	}
	now := new(unstructured.Unstructured)
	return now, c.Try(Admin, http.MethodGet, path+"/"+o.GetName(), nil, &now.Object)
}

// Delete removes an object, and after it what it owns.
func (c *Cluster) Delete(t testing.TB, o *unstructured.Unstructured) {
	t.Helper()
	path, err := c.pathOf(o)
	if err != nil {
		t.Fatal(err)
	}
	c.Do(t, http.MethodDelete, path+"/"+o.GetName()+"?propagationPolicy=Background", nil, nil)
}

// pathOf returns the path of the collection that an object is of. A kind that was defined just now is waited for.
func (c *Cluster) pathOf(o *unstructured.Unstructured) (string, error) {
	base := "/apis/" + o.GetAPIVersion()
	if o.GetAPIVersion() == "v1" {
		base = "/api/v1"
	}
	for deadline := time.Now().Add(patience); ; time.Sleep(50 * time.Millisecond) {
		var list metav1.APIResourceList
		err := c.Try(Admin, http.MethodGet, base, nil, &list)
		i := slices.IndexFunc(list.APIResources, func(r metav1.APIResource) bool { return r.Kind == o.GetKind() && !strings.Contains(r.Name, "/") })
		switch {
		case i >= 0 && list.APIResources[i].Namespaced:
			return base + "/namespaces/" + o.GetNamespace() + "/" + list.APIResources[i].Name, nil
		case i >= 0:
			return base + "/" + list.APIResources[i].Name, nil
		case time.Now().After(deadline):
			return "", fmt.Errorf("no %s in %s: %w", o.GetKind(), base, err)
		}
	}
}

// Convert makes a typed object of one that was read.
func Convert[T any](t testing.TB, o *unstructured.Unstructured) (v T) {
	t.Helper()
	text, err := json.Marshal(o.Object)
	if err == nil {
		err = json.Unmarshal(text, &v)
	}
	if err != nil {
		t.Fatal(err)
	}
	return v
}
