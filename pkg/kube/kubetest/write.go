package kubetest

import (
	"encoding/json"
	"io"
	"net/http"
	"slices"
	"strconv"
	"strings"

	coordinationv1 "k8s.io/api/coordination/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
)

// TakePatches has the statuses of Services that are patched stored from now on, and refuses a patch of a version that is not
// the last one.
func (a *API) TakePatches() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.takes = true
}

// Service returns a Service as it is stored; nil: there is none.
func (a *API) Service(namespace, name string) *corev1.Service {
	a.mu.Lock()
	defer a.mu.Unlock()
	s, _ := a.objects["services"][place{namespace, name}].(*corev1.Service)
	return s.DeepCopy()
}

// patch stores the status of a Service; false: that is not what it was asked for.
func (a *API) patch(w http.ResponseWriter, path string, body []byte) bool {
	parts := strings.Split(path, "/") // "", api, v1, namespaces, NAMESPACE, services, NAME, status
	a.mu.Lock()
	takes := a.takes
	a.mu.Unlock()
	if !takes || len(parts) != 8 || parts[5] != "services" || parts[7] != "status" {
		return false
	}
	var patch struct {
		Metadata struct{ ResourceVersion string }
		Status   struct {
			LoadBalancer *corev1.LoadBalancerStatus
			Conditions   []struct {
				metav1.Condition
				Patch string `json:"$patch"`
			}
		}
	}
	if err := json.Unmarshal(body, &patch); err != nil {
		refuse(w, http.StatusBadRequest)
		return true
	}
	s := a.Service(parts[4], parts[6])
	switch v := patch.Metadata.ResourceVersion; {
	case s == nil:
		refuse(w, http.StatusNotFound)
		return true
	case v != "" && v != s.ResourceVersion:
		refuse(w, http.StatusConflict)
		return true
	}
	if patch.Status.LoadBalancer != nil {
		s.Status.LoadBalancer = *patch.Status.LoadBalancer
	}
	for _, c := range patch.Status.Conditions {
		s.Status.Conditions = slices.DeleteFunc(s.Status.Conditions, func(old metav1.Condition) bool { return old.Type == c.Type })
		if c.Patch != "delete" {
			s.Status.Conditions = append(s.Status.Conditions, c.Condition)
		}
	}
	a.mu.Lock()
	a.written = append(a.written, "PATCH "+path+" "+string(body))
	a.mu.Unlock()
	a.Set(s.DeepCopy())
	answer(w, s)
	return true
}

// Lease returns a Lease as it is stored; nil: there is none.
func (a *API) Lease(namespace, name string) *coordinationv1.Lease {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.leases[place{namespace, name}].DeepCopy()
}

// serveLease reads and writes Leases, as the API does: only who knows the last version may write.
func (a *API) serveLease(w http.ResponseWriter, r *http.Request) {
	parts := strings.Split(r.URL.Path, "/") // "", apis, coordination.k8s.io, v1, namespaces, NAMESPACE, leases[, NAME]
	at := place{namespace: parts[5], name: parts[len(parts)-1]}
	a.mu.Lock()
	defer a.mu.Unlock()
	if r.Method == http.MethodGet {
		if l := a.leases[at]; l != nil {
			answer(w, l)
		} else {
			refuse(w, http.StatusNotFound)
		}
		return
	}
	body, _ := io.ReadAll(r.Body)
	l := new(coordinationv1.Lease)
	if _, _, err := leaseCodecs.UniversalDeserializer().Decode(body, nil, l); err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	at.name = l.Name
	old := a.leases[at]
	if r.Method == http.MethodPost && old != nil || r.Method == http.MethodPut && (old == nil || old.ResourceVersion != l.ResourceVersion) {
		refuse(w, http.StatusConflict)
		return
	}
	a.revision++
	l.ResourceVersion = strconv.Itoa(a.revision)
	l.TypeMeta = metav1.TypeMeta{Kind: "Lease", APIVersion: "coordination.k8s.io/v1"}
	a.leases[at] = l
	answer(w, l)
}

var leaseCodecs = func() serializer.CodecFactory {
	scheme := runtime.NewScheme()
	if err := coordinationv1.AddToScheme(scheme); err != nil {
		panic(err)
	}
	return serializer.NewCodecFactory(scheme)
}()

func answer(w http.ResponseWriter, o any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(o)
}
