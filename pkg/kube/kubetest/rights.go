package kubetest

import (
	"bytes"
	"encoding/json"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	rbacv1 "k8s.io/api/rbac/v1"
)

// A Right is one thing that somebody may do, or did.
type Right struct{ Verb, Group, Resource string } // a subresource follows its resource and a slash

// Rights are what rules allow, each once; a rule for some names counts as one for all.
func Rights(rules ...rbacv1.PolicyRule) map[Right]bool {
	all := make(map[Right]bool)
	for _, r := range rules {
		for _, verb := range r.Verbs {
			for _, group := range r.APIGroups {
				for _, resource := range r.Resources {
					all[Right{verb, group, resource}] = true
				}
			}
		}
	}
	return all
}

// auditEvent is what the server writes down of a request.
type auditEvent struct {
	Verb      string
	User      struct{ Username string }
	ObjectRef struct{ APIGroup, Resource, Subresource string }

	Annotations map[string]string
}

// Used are the rights that a user, or a service account by its name as a user, has asked for up to now; false: he was refused. Who
// watches is taken to list, too: a server that is new enough tells a watch what a list would.
func (c *Cluster) Used(t testing.TB, user string) map[Right]bool {
	t.Helper()
	log, err := os.ReadFile(filepath.Join(c.dir, "audit.log"))
	if err != nil {
		t.Fatal(err)
	}
	used := make(map[Right]bool)
	for line := range bytes.Lines(log) {
		var e auditEvent
		if err := json.Unmarshal(line, &e); err != nil {
			break // it is being written
		}
		if e.User.Username == user {
			r, allowed := e.right(), e.Annotations["authorization.k8s.io/decision"] == "allow"
			used[r] = allowed
			if r.Verb == "watch" {
				used[Right{"list", r.Group, r.Resource}] = allowed
			}
		}
	}
	return used
}

func (e auditEvent) right() Right {
	r := Right{e.Verb, e.ObjectRef.APIGroup, e.ObjectRef.Resource}
	if e.ObjectRef.Subresource != "" {
		r.Resource += "/" + e.ObjectRef.Subresource
	}
	return r
}

// Review tells whether who shows a token has a right, in the way that kubelets and other servers behind the API ask.
func (c *Cluster) Review(token string, r Right) (bool, error) {
	var who struct{ Status struct{ User subject } }
	ask := map[string]any{"spec": map[string]any{"token": token}}
	if err := c.Try(Admin, http.MethodPost, "/apis/authentication.k8s.io/v1/tokenreviews", ask, &who); err != nil {
		return false, err
	}
	return c.may(who.Status.User, place{}, r)
}

// subject is who asks.
type subject struct {
	Username string
	Groups   []string
}

// may tells whether somebody has a right to an object, or to all of a namespace, or of all.
func (c *Cluster) may(who subject, at place, r Right) (bool, error) {
	resource, subresource, _ := strings.Cut(r.Resource, "/")
	ask := map[string]any{"spec": map[string]any{
		"user": who.Username, "groups": who.Groups,
		"resourceAttributes": map[string]any{
			"namespace": at.namespace, "name": at.name, "verb": r.Verb, "group": r.Group, "resource": resource, "subresource": subresource,
		},
	}}
	var answer struct{ Status struct{ Allowed bool } }
	err := c.Try(Admin, http.MethodPost, "/apis/authorization.k8s.io/v1/subjectaccessreviews", ask, &answer)
	return answer.Status.Allowed, err
}
