// Package sdnotify tells systemd what state a service is in (sd_notify(3)), without a library and without systemd.
package sdnotify

import (
	"context"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"time"
)

// A Notifier sends to the service manager that started this process. A nil one sends nothing. It is safe for concurrent use.
type Notifier struct {
	conn     *net.UnixConn
	watchdog time.Duration // 0: none asked for
}

// New returns nil without an error when no manager asked for notifications. It clears the variables, so that programs
// this one starts do not speak in its name.
func New() (*Notifier, error) {
	path := os.Getenv("NOTIFY_SOCKET")
	watchdog := watchdogTime(os.Getenv("WATCHDOG_USEC"), os.Getenv("WATCHDOG_PID"))
	for _, name := range []string{"NOTIFY_SOCKET", "WATCHDOG_USEC", "WATCHDOG_PID"} {
		if err := os.Unsetenv(name); err != nil {
			return nil, err
		}
	}
	if path == "" {
		return nil, nil
	}
	conn, err := net.DialUnix("unixgram", nil, &net.UnixAddr{Name: path, Net: "unixgram"})
	if err != nil {
		return nil, fmt.Errorf("NOTIFY_SOCKET: %w", err)
	}
	return &Notifier{conn: conn, watchdog: watchdog}, nil
}

// watchdogTime is 0 unless the manager watches this very process.
func watchdogTime(usec, pid string) time.Duration {
	n, err := strconv.ParseInt(usec, 10, 64)
	if err != nil || n <= 0 || pid != "" && pid != strconv.Itoa(os.Getpid()) {
		return 0
	}
	return time.Duration(n) * time.Microsecond
}

// Ready says that the service is up; the status is for people.
func (n *Notifier) Ready(status string) error { return n.send("READY=1", "STATUS="+status) }

// Stopping says that the service stops, and that it takes at most so long.
func (n *Notifier) Stopping(status string, limit time.Duration) error {
	return n.send("STOPPING=1", "STATUS="+status, fmt.Sprintf("EXTEND_TIMEOUT_USEC=%d", limit.Microseconds()))
}

// Watch tells the manager twice in each of its watchdog times that the service is alive, until ctx is done. Each time it
// calls alive first: while that does not return, the manager hears nothing, and in the end restarts the service.
func (n *Notifier) Watch(ctx context.Context, alive func()) error {
	if n == nil || n.watchdog == 0 {
		return nil
	}
	ticker := time.NewTicker(n.watchdog / 2)
	defer ticker.Stop()
	for {
		alive()
		if err := n.send("WATCHDOG=1"); err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
	}
}

// Close frees the socket.
func (n *Notifier) Close() error {
	if n == nil {
		return nil
	}
	return n.conn.Close()
}

func (n *Notifier) send(lines ...string) error {
	if n == nil {
		return nil
	}
	for i, l := range lines {
		lines[i] = strings.ReplaceAll(l, "\n", " ")
	}
	if _, err := n.conn.Write([]byte(strings.Join(lines, "\n"))); err != nil {
		return fmt.Errorf("tell the service manager: %w", err)
	}
	return nil
}
