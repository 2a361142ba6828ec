package main

import (
	"os"
	"os/exec"
	"testing"

	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/nettest"
	"github.com/anyedge/anyedge/pkg/kube/kubetest"
)

func TestMain(m *testing.M) {
	nettest.Main(func() {
		goleak.VerifyTestMain(m, goleak.IgnoreAnyFunction("github.com/eapache/channels.(*InfiniteChannel).infiniteBuffer"))
	})
}

// TestDemo is `make demo-kube`: the demo goes through.
func TestDemo(t *testing.T) {
	nettest.Need(t)
	kubetest.Program(t, "kubetools")
	t.Chdir("../..") // where make is
	bin := t.TempDir()
	build := exec.Command("go", "build", "-trimpath", "-o", bin+"/", "./cmd/edgedns", "./cmd/edgeagent", "./cmd/edgeprobe", "./cmd/edgectl")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build: %v\n%s", err, out)
	}
	if status := demonstrate([]string{bin}); status != 0 {
		t.Errorf("exit status %d", status)
	}
}
