package kubetest

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"
)

// token is a user's password; nobody but these tests can reach the server.
func token(user string) string { return "token-of-" + user }

// kubeconfig is how to speak to a server as whom a token stands for. The server's certificate is made anew in every run, and
// not looked at. JSON is YAML, too.
func kubeconfig(url, token string) []byte {
	return fmt.Appendf(nil, `{
  "apiVersion": "v1", "kind": "Config", "current-context": "test",
  "clusters": [{"name": "test", "cluster": {"server": %q, "insecure-skip-tls-verify": true}}],
  "users": [{"name": "test", "user": {"token": %q}}],
  "contexts": [{"name": "test", "context": {"cluster": "test", "user": "test"}}]
}
`, url, token)
}

func writeKubeconfig(t testing.TB, content []byte) string {
	t.Helper()
	file := filepath.Join(t.TempDir(), "kubeconfig")
	if err := os.WriteFile(file, content, 0o600); err != nil {
		t.Fatal(err)
	}
	return file
}
