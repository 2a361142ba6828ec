package probe

import (
	crand "crypto/rand"
	"encoding/binary"
)

// A protocol writes probes and reads answers. One goroutine may encode while another decodes.
type protocol interface {
	// encode writes the probe of a number, sent at a time, over the buffer and returns it.
	encode(buf []byte, seq uint64, sent int64) []byte
	// decode reads an answer while newest is the number of the newest probe; false: the packet is none.
	decode(packet []byte, newest uint64) (answer, bool)
}

// packets is anyedge's own protocol.
type packets struct {
	run   uint64
	reply Packet // decoded into again and again
}

var _ protocol = (*packets)(nil)

// newPackets draws the number of the run: answers to another run that had the same port are not taken for ours.
func newPackets() *packets {
	var run [8]byte
	_, _ = crand.Read(run[:]) // never fails
	return &packets{run: binary.BigEndian.Uint64(run[:])}
}

func (p *packets) encode(buf []byte, seq uint64, sent int64) []byte {
	request := Packet{Kind: KindRequest, Run: p.run, Seq: seq, SentNs: sent}
	buf, _ = request.AppendBinary(buf[:0]) // never fails
	return buf
}

func (p *packets) decode(packet []byte, _ uint64) (answer, bool) {
	err := p.reply.UnmarshalBinary(packet)
	if err != nil || p.reply.Kind != KindReply || p.reply.Run != p.run {
		return answer{}, false
	}
	return answer{seq: p.reply.Seq, site: p.reply.siteBytes()}, true
}
