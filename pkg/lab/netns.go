package lab

import (
	"errors"
	"fmt"
	"os"
	"runtime"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netns"
	"golang.org/x/sys/unix"
)

// A namespace is a node's network: an open descriptor keeps it alive, no name in the file system does, so that nothing
// stays behind when the process ends, however it ends.
type namespace struct {
	handle netns.NsHandle
}

// newNamespace makes a network namespace with lo up. The sysctls that must be there before any interface is (no
// duplicate address detection, no router advertisements) are set as its defaults.
func newNamespace() (namespace, error) {
	var ns namespace
	err := onThread(func() error {
		handle, err := netns.New()
		if err != nil {
			return fmt.Errorf("new network namespace: %w", err)
		}
		ns.handle = handle
		return quiet()
	})
	return ns, err
}

// quiet makes lo work and keeps the kernel from talking on interfaces by itself.
func quiet() error {
	lo, err := netlink.LinkByName("lo")
	if err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	if err := netlink.LinkSetUp(lo); err != nil {
		return fmt.Errorf("lo: %w", err)
	}
	for _, key := range []string{"accept_dad", "accept_ra", "router_solicitations"} {
		if err := (Sysctl{Key: "net.ipv6.conf.default." + key, Value: "0"}).apply(); err != nil {
			return err
		}
	}
	return nil
}

// do calls fn on a thread inside the namespace; processes and sockets that fn makes stay there.
func (n namespace) do(fn func() error) error {
	return onThread(func() error {
		if err := netns.Set(n.handle); err != nil {
			return fmt.Errorf("enter network namespace: %w", err)
		}
		return fn()
	})
}

// close lets the namespace go once no process uses it.
func (n namespace) close() error { return n.handle.Close() }

// onThread runs fn on a locked thread and puts the thread back where it was. A thread that cannot be put back is not
// given back to the scheduler: the goroutine ends locked and the thread ends with it.
func onThread(fn func() error) error {
	result := make(chan error, 1)
	go func() {
		runtime.LockOSThread()
		origin, err := netns.Get()
		if err != nil {
			result <- fmt.Errorf("current network namespace: %w", err)
			return
		}
		defer origin.Close()
		err = fn()
		if netns.Set(origin) == nil {
			runtime.UnlockOSThread()
		}
		result <- err
	}()
	return <-result
}

// apply writes the setting unless it already holds: in containers /proc/sys may be read-only and set from outside.
func (s Sysctl) apply() error {
	path := s.path()
	old, err := os.ReadFile(path)
	if err != nil {
		return fmt.Errorf("sysctl %s: %w", s.Key, err)
	}
	if sameSetting(string(old), s.Value) {
		return nil
	}
	err = os.WriteFile(path, []byte(s.Value), 0)
	switch {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("sysctl %s=%s: %w: give it to the container engine (sysctls: in the topology, docker run --sysctl)",
			s.Key, s.Value, err)
	case err != nil:
		return fmt.Errorf("sysctl %s=%s: %w", s.Key, s.Value, err)
	}
	return nil
}
