package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"time"
	"unicode"
)

const (
	// maxAnswer bounds an answer, its head included, in bytes, and maxBody what is read of it for the name.
	maxAnswer, maxBody = 1 << 20, 4 << 10
	// readBuffer is of a connection, in bytes: answers of `edgeprobe app` fit.
	readBuffer = 1 << 10
	// maxName bounds the name of a pod, in bytes.
	maxName = 64
	// maxInformational is how many 1xx answers may come before the one that counts (RFC 9110, section 15.2).
	maxInformational = 8
)

// A connection is one to a pod.
type connection struct {
	net.Conn
	address netip.Addr
	limited *io.LimitedReader
	reader  *bufio.Reader
}

func newConnection(conn net.Conn, address netip.Addr) *connection {
	limited := &io.LimitedReader{R: conn}
	return &connection{Conn: conn, address: address, limited: limited, reader: bufio.NewReaderSize(limited, readBuffer)}
}

// A reply is what a pod answered.
type reply struct {
	status int
	name   string // that it gives itself; may be empty
	keep   bool   // the connection can be used again
}

// exchange sends a request and reads the answer until ctx, which has a deadline, is done. started is false when not
// even the first byte of an answer came: the pod may have closed a connection that was kept too long.
func (c *connection) exchange(ctx context.Context, request []byte) (r reply, started bool, err error) {
	deadline, _ := ctx.Deadline()
	if err := c.SetDeadline(deadline); err != nil {
		return reply{}, false, err
	}
	c.limited.N = maxAnswer
	if _, err := c.Write(request); err != nil {
		return reply{}, false, err
	}
	if _, err := c.reader.Peek(1); err != nil {
		return reply{}, false, err
	}
	r, err = readReply(c.reader)
	if err != nil && c.limited.N == 0 {
		err = fmt.Errorf("an answer of more than %d bytes", maxAnswer)
	}
	return r, true, err
}

// readReply reads one answer to a GET to its end.
func readReply(from *bufio.Reader) (reply, error) {
	response, err := readFinal(from)
	if err != nil {
		return reply{}, err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(io.LimitReader(response.Body, maxBody))
	if err != nil {
		return reply{}, err
	}
	if _, err := io.Copy(io.Discard, response.Body); err != nil {
		return reply{}, err
	}
	return reply{status: response.StatusCode, name: podName(body), keep: !response.Close}, nil
}

func readFinal(from *bufio.Reader) (*http.Response, error) {
	for range maxInformational {
		response, err := http.ReadResponse(from, nil)
		if err != nil {
			return nil, err
		}
		if response.StatusCode >= 200 {
			return response, nil
		}
		_ = response.Body.Close() // it has none
	}
	return nil, errors.New("nothing but informational answers")
}

// podName reads the name from the body of an answer of `edgeprobe app`: JSON with a name. Of other bodies it is empty.
func podName(body []byte) string {
	var id struct {
		Name string `json:"name"`
	}
	if json.Unmarshal(body, &id) != nil || len(id.Name) > maxName {
		return ""
	}
	for _, c := range id.Name {
		if c > unicode.MaxASCII || !unicode.IsGraphic(c) || c == ' ' {
			return ""
		}
	}
	return id.Name
}

// idle holds the connection that a client keeps. It is not safe for concurrent use.
type idle struct {
	conn  *connection
	since time.Time
}

// maxIdle is how long a connection is kept unused: less than servers do (30 s and more).
const maxIdle = 25 * time.Second

// take returns the kept connection, if it is not too old.
func (i *idle) take(now time.Time) *connection {
	c := i.conn
	i.conn = nil
	if c != nil && now.Sub(i.since) > maxIdle {
		_ = c.Close()
		return nil
	}
	return c
}

// put keeps a connection instead of one that was kept before.
func (i *idle) put(c *connection, now time.Time) {
	if i.conn != nil {
		_ = i.conn.Close()
	}
	i.conn, i.since = c, now
}
