package kubetest

import (
	"bytes"
	"context"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// Admin is the user who may do everything. maxUsers others, who are of the group, may do nothing until Grant.
const (
	Admin    = "admin"
	maxUsers = 64
	group    = "tests"
)

func userName(n int) string { return fmt.Sprintf("user-%d", n) }

// auditPolicy has the server write down what is asked for by those whose rights are tested.
const auditPolicy = `{
  "apiVersion": "audit.k8s.io/v1", "kind": "Policy", "omitStages": ["RequestReceived"],
  "rules": [{"level": "Metadata", "userGroups": ["` + group + `", "system:serviceaccounts:anyedge"]}, {"level": "None"}]
}
`

// writeFiles writes what the server reads at its start, and the admin's kubeconfig.
func (c *Cluster) writeFiles() error {
	var users strings.Builder
	fmt.Fprintf(&users, "%s,%s,%s,\"system:masters\"\n", token(Admin), Admin, Admin)
	for n := range maxUsers {
		user := userName(n)
		fmt.Fprintf(&users, "%s,%s,%s,%q\n", token(user), user, user, group)
	}
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		return err
	}
	public, err := x509.MarshalPKIXPublicKey(&key.PublicKey)
	if err != nil {
		return err
	}
	for name, content := range map[string][]byte{
		"tokens.csv":       []byte(users.String()),
		"sa.key":           pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
		"sa.pub":           pem.EncodeToMemory(&pem.Block{Type: "PUBLIC KEY", Bytes: public}),
		"admin.kubeconfig": kubeconfig(c.url(), token(Admin)),
		"audit-policy":     []byte(auditPolicy),
	} {
		if err := os.WriteFile(filepath.Join(c.dir, name), content, 0o600); err != nil {
			return err
		}
	}
	return nil
}

func (c *Cluster) url() string { return fmt.Sprintf("https://[::1]:%d", c.serverPort) }

// AdminKubeconfig is a file to speak to the API as the admin.
func (c *Cluster) AdminKubeconfig() string { return filepath.Join(c.dir, "admin.kubeconfig") }

// AccountKubeconfig is the content of a file to speak to the API as a service account, with just the rights that it has.
func (c *Cluster) AccountKubeconfig(namespace, account string) ([]byte, error) {
	var issued struct{ Status struct{ Token string } }
	ask := map[string]any{"apiVersion": "authentication.k8s.io/v1", "kind": "TokenRequest"}
	err := c.Try(Admin, http.MethodPost, "/api/v1/namespaces/"+namespace+"/serviceaccounts/"+account+"/token", ask, &issued)
	return kubeconfig(c.url(), issued.Status.Token), err
}

// Kubeconfig returns a file to speak to the API as a user.
func (c *Cluster) Kubeconfig(t testing.TB, user string) string {
	t.Helper()
	return writeKubeconfig(t, kubeconfig(c.url(), token(user)))
}

func newHTTP() *http.Client {
	return &http.Client{
		Timeout:   patience,
		Transport: &http.Transport{TLSClientConfig: &tls.Config{InsecureSkipVerify: true}},
	}
}

// Try asks the API as a user: method and path, such as /api/v1/namespaces, and the object to send, which may be nil. The answer
// goes into a pointer, which may be nil.
func (c *Cluster) Try(user, method, path string, body, into any) error {
	var content []byte
	if body != nil {
		var err error
		if content, err = json.Marshal(body); err != nil {
			return err
		}
	}
	req, err := http.NewRequest(method, c.url()+path, bytes.NewReader(content))
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token(user))
	req.Header.Set("Content-Type", "application/json")
	if method == http.MethodPatch {
		req.Header.Set("Content-Type", "application/apply-patch+yaml") // JSON is YAML, too
	}
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	answer, err := io.ReadAll(resp.Body)
	if err != nil {
		return err
	}
	if resp.StatusCode >= 300 {
		return fmt.Errorf("%s %s: %s: %s", method, path, resp.Status, bytes.TrimSpace(answer))
	}
	if into == nil {
		return nil
	}
	return json.Unmarshal(answer, into)
}

// Watch returns what the API tells the admin of a collection from now on, an event of JSON after the other, for three minutes.
func (c *Cluster) Watch(ctx context.Context, path string) (io.ReadCloser, error) {
	var list metav1.PartialObjectMetadataList
	if err := c.Try(Admin, http.MethodGet, path+"?limit=1", nil, &list); err != nil {
		return nil, err
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url()+path+"?watch=true&resourceVersion="+list.ResourceVersion, nil)
	if err != nil {
		return nil, err
	}
	req.Header.Set("Authorization", "Bearer "+token(Admin))
	resp, err := c.http.Do(req)
	if err != nil {
		return nil, err
	}
	return resp.Body, nil
}

// Do asks as the admin, and the test fails when it is refused.
func (c *Cluster) Do(t testing.TB, method, path string, body, into any) {
	t.Helper()
	if err := c.Try(Admin, method, path, body, into); err != nil {
		t.Fatal(err)
	}
}

// User returns a user whom nobody else has, and who may do nothing.
func (c *Cluster) User(t testing.TB) string {
	t.Helper()
	n := int(c.users.Add(1)) - 1
	if n >= maxUsers {
		t.Fatal("kubetest: no users are left")
	}
	return userName(n)
}

// Grant replaces a user's rights in a namespace, or those in the whole cluster where it is empty. New ones are in force when it
// returns.
func (c *Cluster) Grant(t testing.TB, user, namespace string, rights ...rbacv1.PolicyRule) {
	t.Helper()
	path, scope := "/apis/rbac.authorization.k8s.io/v1/", "Cluster"
	if namespace != "" {
		path, scope = path+"namespaces/"+namespace+"/", ""
	}
	if rights == nil {
		rights = []rbacv1.PolicyRule{}
	}
	kind := strings.ToLower(scope) + "role"
	// A PUT creates these where they are not.
	c.Do(t, http.MethodPut, path+kind+"s/"+user, map[string]any{"metadata": map[string]any{"name": user}, "rules": rights}, nil)
	c.Do(t, http.MethodPut, path+kind+"bindings/"+user, map[string]any{
		"metadata": map[string]any{"name": user},
		"roleRef":  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: scope + "Role", Name: user},
		"subjects": []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}, nil)
	c.WaitRights(t, user, namespace, rights...)
}

// WaitRights waits until a user, or a service account by its name as a user, has rights in a namespace, or in the whole cluster.
func (c *Cluster) WaitRights(t testing.TB, user, namespace string, rights ...rbacv1.PolicyRule) {
	t.Helper()
	for _, rule := range rights {
		for r := range Rights(rule) {
			c.waitRight(t, user, place{namespace, strings.Join(rule.ResourceNames, "")}, r)
		}
	}
}

func (c *Cluster) waitRight(t testing.TB, user string, at place, r Right) {
	t.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		allowed, err := c.may(subject{Username: user}, at, r)
		switch {
		case allowed:
			return
		case time.Now().After(deadline):
			t.Fatalf("%s may not %v: %v", user, r, err)
		}
	}
}

// Namespace makes a namespace for a test.
func (c *Cluster) Namespace(t testing.TB) string {
	t.Helper()
	name := fmt.Sprintf("test-%d", c.names.Add(1))
	c.Do(t, http.MethodPost, "/api/v1/namespaces", map[string]any{"metadata": map[string]any{"name": name}}, nil)
	return name
}

// Compact has etcd forget everything but what is true now: who watched something older has to list anew.
func (c *Cluster) Compact(t testing.TB) {
	t.Helper()
	var reply struct {
		Header struct {
			Revision string `json:"revision"`
		} `json:"header"`
	}
	// Something of nobody's is written, so that who knew the last change of all has missed some, too.
	for range 2 {
		c.etcdCall(t, "put", map[string]any{"key": []byte("kubetest"), "value": []byte("kubetest")}, &reply)
	}
	c.etcdCall(t, "compaction", map[string]any{"revision": reply.Header.Revision, "physical": true}, &reply)
}

func (c *Cluster) etcdCall(t testing.TB, method string, ask, reply any) {
	t.Helper()
	body, err := json.Marshal(ask)
	if err != nil {
		t.Fatal(err)
	}
	resp, err := c.http.Post(fmt.Sprintf("http://[::1]:%d/v3/kv/%s", c.etcdPort, method), "application/json", bytes.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	if err := json.NewDecoder(resp.Body).Decode(reply); err != nil || resp.StatusCode != http.StatusOK {
		t.Fatalf("etcd %s: %s, %v", method, resp.Status, err)
	}
}

// ready tells whether the server takes requests.
func (c *Cluster) ready() error {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, c.url()+"/readyz", nil)
	if err != nil {
		return err
	}
	req.Header.Set("Authorization", "Bearer "+token(Admin))
	resp, err := c.http.Do(req)
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		return fmt.Errorf("readyz: %s", resp.Status)
	}
	return nil
}
