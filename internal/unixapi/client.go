package unixapi

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"syscall"

	"golang.org/x/sys/unix"
)

// MaxAnswer bounds one answer.
const MaxAnswer = 64 << 20

// ErrNotFound is the error for what the program behind the socket does not know. Its text is the program's.
var ErrNotFound = errors.New("not found")

// A Client asks the program behind one socket. Its methods may be called from several goroutines at once.
type Client struct {
	socket, program, key string
	http                 http.Client
}

// NewClient returns a client; it connects when asked something. program should be behind the socket when its
// configuration names that in key, such as "api".
func NewClient(socket, program, key string) *Client {
	dial := func(ctx context.Context, _, _ string) (net.Conn, error) {
		return (&net.Dialer{}).DialContext(ctx, "unix", socket)
	}
	return &Client{socket, program, key, http.Client{Transport: &http.Transport{DialContext: dial, DisableKeepAlives: true}}}
}

// Ask sends in, if it is not nil, and reads the answer into out.
func (c *Client) Ask(ctx context.Context, method, path string, in, out any) error {
	body, err := c.Open(ctx, method, path, in)
	if err != nil {
		return err
	}
	defer body.Close()
	if err := json.NewDecoder(io.LimitReader(body, MaxAnswer)).Decode(out); err != nil {
		return c.Wrap("is not what was expected", err)
	}
	return nil
}

// Open is Ask for who reads the answer as it comes, and closes it.
func (c *Client) Open(ctx context.Context, method, path string, in any) (io.ReadCloser, error) {
	var sent bytes.Buffer
	if in != nil {
		if err := json.NewEncoder(&sent).Encode(in); err != nil {
			return nil, err
		}
	}
	r, err := http.NewRequestWithContext(ctx, method, "http://"+c.program+path, &sent)
	if err != nil {
		return nil, err
	}
	answer, err := c.http.Do(r)
	if err != nil {
		return nil, c.explain(err)
	}
	if answer.StatusCode != http.StatusOK {
		defer answer.Body.Close()
		return nil, c.refused(answer)
	}
	return answer.Body, nil
}

// Wrap tells of whom err is.
func (c *Client) Wrap(what string, err error) error {
	return fmt.Errorf("%s at %s: %s: %w", c.program, c.socket, what, err)
}

func (c *Client) explain(err error) error {
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, unix.ECONNREFUSED):
		return fmt.Errorf("no %s at %s: is it running, and does its file say %s: {socket: %[2]s}? (--socket names another): %[4]w", c.program, c.socket, c.key, cause(err))
	case errors.Is(err, fs.ErrPermission):
		return fmt.Errorf("%s at %s: not permitted: be root or in the group of the socket: %w", c.program, c.socket, cause(err))
	default:
		return fmt.Errorf("%s at %s: %w", c.program, c.socket, err)
	}
}

// cause leaves out what the layers between say about a request over HTTP.
func cause(err error) error {
	var number syscall.Errno
	if errors.As(err, &number) {
		return number
	}
	return err
}

func (c *Client) refused(answer *http.Response) error {
	var r refusal
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxBody)).Decode(&r); err != nil || r.Error == "" {
		return fmt.Errorf("%s at %s: answered %s", c.program, c.socket, answer.Status)
	}
	if answer.StatusCode == http.StatusNotFound {
		return notFound{r.Error}
	}
	return errors.New(r.Error)
}

// notFound is ErrNotFound in the words of the program.
type notFound struct{ text string }

func (e notFound) Error() string        { return e.text }
func (e notFound) Is(target error) bool { return target == ErrNotFound }
