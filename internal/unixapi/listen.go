// Package unixapi is the plumbing of an API over a Unix socket: HTTP and JSON, an error as {"error": "..."}, and the
// socket's mode as the whole access control.
package unixapi

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"syscall"

	"golang.org/x/sys/unix"
)

// mode of the socket: its owner and group may give orders.
const mode = 0o660

// Listen makes the socket, mode 0660, and its directory if that is missing. A socket that a killed process left is
// replaced, one that somebody serves and a file that is no socket are not. Closing the listener removes the socket.
// key is where the configuration names the path, for errors.
func Listen(path, key string) (net.Listener, error) {
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, fmt.Errorf("%s %s: %w", key, path, err)
	}
	if err := removeStale(path); err != nil {
		return nil, fmt.Errorf("%s %s: %w", key, path, err)
	}
	// The mode is there before the name is: nobody gets in between. The umask may have taken some of it.
	private := net.ListenConfig{Control: func(_, _ string, c syscall.RawConn) (err error) {
		if e := c.Control(func(fd uintptr) { err = unix.Fchmod(int(fd), mode) }); e != nil {
			return e
		}
		return err
	}}
	l, err := private.Listen(context.Background(), "unix", path)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	if err := os.Chmod(path, mode); err != nil {
		l.Close()
		return nil, fmt.Errorf("%s: %w", key, err)
	}
	return l, nil
}

func removeStale(path string) error {
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if info.Mode().Type() != fs.ModeSocket {
		return errors.New("is there and no socket: remove it, or name another")
	}
	if c, err := net.Dial("unix", path); err == nil {
		c.Close()
		return errors.New("another program serves it: stop that, or name another")
	} else if !errors.Is(err, unix.ECONNREFUSED) {
		return err
	}
	return os.Remove(path)
}
