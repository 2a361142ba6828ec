package kubetest

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	discoveryv1 "k8s.io/api/discovery/v1"
	networkingv1 "k8s.io/api/networking/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// API lists and watches like an API server, in JSON, and goes wrong as it is told to: what a real one does only after
// minutes, or never when a test wants it to. It knows Services, Ingresses, EndpointSlices, Pods, Nodes and Leases.
type API struct {
	url func() string // starts to listen

	mu       sync.Mutex
	revision int
	changed  map[string]int                     // the revision of the last change, by resource
	objects  map[string]map[place]metav1.Object // by resource
	streams  map[chan event]string              // the resource that each is of
	fail     func(r *http.Request) int          // the status to refuse a request with; 0: serve it
	written  []string                           // PATCH and POST, but of Leases: path and body
	takes    bool                               // what is patched is stored
	leases   map[place]*coordinationv1.Lease
}

// place is an object's.
type place struct{ namespace, name string }

type event struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

// NewAPI returns an API without objects. It listens from when it is first asked where, until the test ends.
func NewAPI(t testing.TB) *API {
	a := &API{
		changed: make(map[string]int), objects: make(map[string]map[place]metav1.Object), streams: make(map[chan event]string),
		leases: make(map[place]*coordinationv1.Lease),
	}
	a.url = sync.OnceValue(func() string {
		server := httptest.NewServer(a)
		t.Cleanup(func() { a.BreakWatches(); server.Close() })
		return server.URL
	})
	return a
}

func resourceOf(o metav1.Object) (name, kind, version string) {
	switch o.(type) {
	case *corev1.Service:
		return "services", "Service", "v1"
	case *corev1.Pod:
		return "pods", "Pod", "v1"
	case *corev1.Node:
		return "nodes", "Node", "v1"
	case *discoveryv1.EndpointSlice:
		return "endpointslices", "EndpointSlice", "discovery.k8s.io/v1"
	case *networkingv1.Ingress:
		return "ingresses", "Ingress", "networking.k8s.io/v1"
	default:
		panic(fmt.Sprintf("no resource of %T", o))
	}
}

// URL is where it listens.
func (a *API) URL() string { return a.url() }

// Kubeconfig returns a file to speak to it.
func (a *API) Kubeconfig(t testing.TB) string {
	t.Helper()
	return writeKubeconfig(t, kubeconfig(a.URL(), "nobody"))
}

// Set stores an object, which it takes over, and tells the watches.
func (a *API) Set(o metav1.Object) { a.store(o, true) }

// SetSilently stores an object, and no watch hears of it.
func (a *API) SetSilently(o metav1.Object) { a.store(o, false) }

// Lose forgets all objects, and no watch hears of it.
func (a *API) Lose() {
	a.mu.Lock()
	defer a.mu.Unlock()
	clear(a.objects)
}

func (a *API) store(o metav1.Object, tell bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	resource, kind, version := resourceOf(o)
	a.revision++
	o.SetResourceVersion(strconv.Itoa(a.revision))
	o.SetUID("uid-1")
	setKind(o, kind, version)
	if a.objects[resource] == nil {
		a.objects[resource] = make(map[place]metav1.Object)
	}
	a.changed[resource] = a.revision
	k, what := place{o.GetNamespace(), o.GetName()}, "MODIFIED"
	if a.objects[resource][k] == nil {
		what = "ADDED"
	}
	a.objects[resource][k] = o
	if tell {
		a.tell(resource, event{what, o})
	}
}

func setKind(o metav1.Object, kind, version string) {
	t := metav1.TypeMeta{Kind: kind, APIVersion: version}
	switch o := o.(type) {
	case *corev1.Service:
		o.TypeMeta = t
	case *corev1.Pod:
		o.TypeMeta = t
	case *corev1.Node:
		o.TypeMeta = t
	case *discoveryv1.EndpointSlice:
		o.TypeMeta = t
	case *networkingv1.Ingress:
		o.TypeMeta = t
	}
}

// Remove deletes an object and tells the watches.
func (a *API) Remove(o metav1.Object) {
	a.mu.Lock()
	defer a.mu.Unlock()
	resource, _, _ := resourceOf(o)
	a.revision++
	k := place{o.GetNamespace(), o.GetName()}
	a.changed[resource] = a.revision
	old := a.objects[resource][k].(runtime.Object).DeepCopyObject().(metav1.Object) // watches may still write it
	old.SetResourceVersion(strconv.Itoa(a.revision))
	delete(a.objects[resource], k)
	a.tell(resource, event{"DELETED", old})
}

// tell tells the watches. One that does not keep up is ended, as by a real API: its client may be gone already.
func (a *API) tell(resource string, e event) {
	for s, of := range a.streams {
		if of != resource {
			continue
		}
		select {
		case s <- e:
		default:
			close(s)
			delete(a.streams, s)
		}
	}
}

// Refuse sets what is refused from now on, and with which status; 0: it is served. Nil: nothing is refused.
func (a *API) Refuse(fail func(*http.Request) int) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = fail
}

// BreakWatches ends all watches, without a word.
func (a *API) BreakWatches() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.streams {
		close(s)
	}
	clear(a.streams)
}

// Expire tells all watches, inside of them, that their past is gone.
func (a *API) Expire() {
	a.mu.Lock()
	defer a.mu.Unlock()
	for s := range a.streams {
		s <- event{"ERROR", refusal(http.StatusGone)}
	}
}

// ServeHTTP implements http.Handler.
func (a *API) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	fail := a.fail
	a.mu.Unlock()
	if fail != nil {
		if status := fail(r); status != 0 {
			refuse(w, status)
			return
		}
	}
	if strings.Contains(r.URL.Path, "/leases") {
		a.serveLease(w, r)
		return
	}
	if r.Method != http.MethodGet {
		body, _ := io.ReadAll(r.Body)
		if r.Method == http.MethodPatch && a.patch(w, r.URL.Path, body) {
			return
		}
		a.mu.Lock()
		a.written = append(a.written, r.Method+" "+r.URL.Path+" "+string(body))
		a.mu.Unlock()
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"kind":"Status","apiVersion":"v1","status":"Success"}`)
		return
	}
	resource := r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	w.Header().Set("Content-Type", "application/json")
	if r.URL.Query().Get("watch") == "true" {
		a.watch(w, r, resource)
		return
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	_, kind, version := resourceOf(examples[resource])
	_ = json.NewEncoder(w).Encode(map[string]any{
		"kind": kind + "List", "apiVersion": version, "metadata": map[string]string{"resourceVersion": strconv.Itoa(a.revision)},
		"items": slices.Collect(maps.Values(a.objects[resource])),
	})
}

var examples = map[string]metav1.Object{
	"services": &corev1.Service{}, "pods": &corev1.Pod{}, "nodes": &corev1.Node{}, "ingresses": &networkingv1.Ingress{}, "endpointslices": &discoveryv1.EndpointSlice{},
}

// watch streams events. Who asks for everything first gets it, with a bookmark at its end; who missed something is told that
// it is gone.
func (a *API) watch(w http.ResponseWriter, r *http.Request, resource string) {
	stream := make(chan event, 100)
	flusher := w.(http.Flusher)
	enc := json.NewEncoder(w)
	a.mu.Lock()
	everything := r.URL.Query().Get("sendInitialEvents") == "true"
	if from, _ := strconv.Atoi(r.URL.Query().Get("resourceVersion")); !everything && from < a.changed[resource] {
		a.mu.Unlock()
		refuse(w, http.StatusGone)
		return
	}
	if everything {
		for _, o := range a.objects[resource] {
			_ = enc.Encode(event{"ADDED", o})
		}
		_, kind, version := resourceOf(examples[resource])
		_ = enc.Encode(event{"BOOKMARK", map[string]any{
			"kind": kind, "apiVersion": version, "metadata": map[string]any{
				"resourceVersion": strconv.Itoa(a.revision), "annotations": map[string]string{metav1.InitialEventsAnnotationKey: "true"},
			},
		}})
	}
	a.streams[stream] = resource
	a.mu.Unlock()
	flusher.Flush()
	defer func() {
		a.mu.Lock()
		delete(a.streams, stream)
		a.mu.Unlock()
	}()
	for {
		select {
		case e, ok := <-stream:
			if !ok {
				return
			}
			_ = enc.Encode(e)
			flusher.Flush()
		case <-r.Context().Done():
			return
		}
	}
}

// refuse answers as the API does.
func refuse(w http.ResponseWriter, status int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(refusal(status))
}

// refusal is what the API says of an HTTP status.
func refusal(status int) metav1.Status {
	reasons := map[int]metav1.StatusReason{
		http.StatusForbidden: metav1.StatusReasonForbidden, http.StatusNotFound: metav1.StatusReasonNotFound, http.StatusConflict: metav1.StatusReasonConflict,
		http.StatusGone:            metav1.StatusReasonExpired,
		http.StatusTooManyRequests: metav1.StatusReasonTooManyRequests, http.StatusInternalServerError: metav1.StatusReasonInternalError,
	}
	return metav1.Status{
		TypeMeta: metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}, Status: metav1.StatusFailure, Code: int32(status), Reason: reasons[status],
		Message: "refused by the test",
	}
}

// Writes returns what was written since it was asked last, sorted: method, path and body.
func (a *API) Writes() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	all := slices.Sorted(slices.Values(a.written))
	a.written = nil
	return all
}
