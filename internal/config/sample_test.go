package config

import (
	"io"
	"os"
	"path/filepath"
	"testing"
)

// sample reads a file that users are told to start from.
func sample[T any](t *testing.T, name string, parse func(string, io.Reader) (T, error)) T {
	t.Helper()
	path := filepath.Join("../../docs/samples", name)
	f, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	v, err := parse(path, f)
	if err != nil {
		t.Fatal(err)
	}
	return v
}

func TestSamples(t *testing.T) {
	t.Parallel()
	t.Logf("%+v", sample(t, "edgeagent.yaml", ParseAgent))
	t.Logf("%+v", sample(t, "edgedns.yaml", ParseDNS))
	t.Logf("%+v", sample(t, "minimal.clab.yml", ParseTopology))
	t.Logf("%+v", sample(t, "node.yaml", ParseSetup))
	t.Logf("%+v", sample(t, "router.yaml", ParseSetup).Router)
}
