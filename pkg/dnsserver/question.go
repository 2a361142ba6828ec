package dnsserver

import (
	"encoding/binary"

	"github.com/miekg/dns"
)

// maxWireName is the most octets that a name has on the wire (RFC 1035 section 2.3.4).
const maxWireName = 255

// A question is what the hot path understands: one question of class IN, and at most an OPT record of version 0. It is
// read in place.
type question struct {
	name  [maxWireName]byte // in lower case, as on the wire
	size  int               // of name
	end   int               // where the question ends in the query
	qtype uint16
	limit int // octets of the answer
	// counted tells that the rate limit holds for the answer, and that it is counted as one.
	counted bool
	client
}

// read reads a query. False: it is malformed or unusual, and a matter for the full path, which tells what.
func (q *question) read(query []byte) bool {
	q.end, q.options = 0, options{}
	// One question, no answer, no authority, and at most one additional record; opcode QUERY, not a response.
	if len(query) < headerSize+5 || query[2]&0xf8 != 0 ||
		binary.BigEndian.Uint64(query[4:])&^1 != 1<<48 {
		return false
	}
	if !q.readName(query[headerSize:]) {
		return false
	}
	at := headerSize + q.size
	if len(query) < at+4 || binary.BigEndian.Uint16(query[at+2:]) != dns.ClassINET {
		return false
	}
	q.qtype, q.end = binary.BigEndian.Uint16(query[at:]), at+4
	q.limit = dns.MinMsgSize
	if query[11] == 0 {
		return len(query) == q.end
	}
	return q.readOPT(query[q.end:])
}

// readAlone reads the question of a query that read does not understand, if it has one.
func (q *question) readAlone(query []byte) {
	q.qtype = 0
	if len(query) <= headerSize || binary.BigEndian.Uint16(query[4:]) != 1 || !q.readName(query[headerSize:]) || len(query) < headerSize+q.size+4 {
		return
	}
	q.end = headerSize + q.size + 4
	q.qtype = binary.BigEndian.Uint16(query[q.end-4:])
}

// readName copies the name in lower case: the letters A to Z have case, nothing else (RFC 4343). Compression has no place
// in a question.
func (q *question) readName(b []byte) bool {
	i := 0
	for i < len(b) && b[i] != 0 {
		next := i + 1 + int(b[i])
		if b[i] > 63 || next >= maxWireName || next >= len(b) {
			return false
		}
		q.name[i] = b[i]
		for j := i + 1; j < next; j++ {
			c := b[j]
			if c-'A' < 26 {
				c |= 0x20
			}
			q.name[j] = c
		}
		i = next
	}
	if i == len(b) {
		return false
	}
	q.name[i] = 0
	q.size = i + 1
	return true
}

// readOPT reads the OPT record (RFC 6891) that must be all that is left.
func (q *question) readOPT(b []byte) bool {
	const size = 11 // without options
	if len(b) < size || b[0] != 0 || binary.BigEndian.Uint16(b[1:]) != dns.TypeOPT || b[5] != 0 || b[6] != 0 {
		return false
	}
	options := b[size:]
	if int(binary.BigEndian.Uint16(b[9:])) != len(options) {
		return false
	}
	q.edns, q.do = true, b[7]&0x80 != 0
	q.limit = min(max(int(binary.BigEndian.Uint16(b[3:])), dns.MinMsgSize), udpPayload)
	q.options.read(options)
	return q.fault == faultless
}
