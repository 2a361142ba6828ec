package health

import (
	"fmt"
	"net"
	"os"
	"runtime"
	"testing"

	"go.uber.org/goleak"

	"github.com/anyedge/anyedge/internal/nettest"
)

// envServe makes the test binary a server to be killed; its value is "network address MiB", the memory that it holds;
// network answers is not killed but answers.
const envServe = "ANYEDGE_HEALTH_SERVE"

func TestMain(m *testing.M) {
	if what := os.Getenv(envServe); what != "" {
		serve(what)
	}
	nettest.Main(func() { goleak.VerifyTestMain(m) })
}

// serve binds a socket, says so, and waits to be killed, at the latest when the pipe to the test is closed.
func serve(what string) {
	var network, address string
	var size int
	_, err := fmt.Sscan(what, &network, &address, &size)
	memory := make([]byte, size<<20)
	for i := 0; i < len(memory); i += os.Getpagesize() {
		memory[i] = 1
	}
	switch {
	case err != nil:
	case network == "answers":
		err = answer()
	default:
		_, err = bind(network, address)
	}
	if err != nil {
		fmt.Println(err)
		os.Exit(1)
	}
	fmt.Println("ready")
	_, _ = os.Stdin.Read(make([]byte, 1))
	runtime.KeepAlive(memory)
	os.Exit(0)
}

// bind makes an idle socket: TCP listens, UDP is not connected.
func bind(network, address string) (interface{ Close() error }, error) {
	if network[:3] == "tcp" {
		return net.Listen(network, address)
	}
	return net.ListenPacket(network, address)
}
