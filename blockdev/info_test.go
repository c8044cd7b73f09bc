package blockdev

import (
	"encoding/binary"
	"testing"

	"github.com/pojntfx/go-nbd/pkg/protocol"
)

// An INFO of 16 KiB may ask 8,000 times for the same: the answer does not grow
// with that.
func TestInfoAnswersOnce(t *testing.T) {
	r := newRig(t, GroupOptions{}, nil, 1<<20)
	defer r.close(t)
	c := &conn{srv: NewServer(ServerOptions{}), export: Export{Name: "data", Volume: r.g.Volumes()[0], Description: "what it is"}}
	ask := func(n int) int {
		data := binary.BigEndian.AppendUint32(nil, 0)
		data = binary.BigEndian.AppendUint16(data, uint16(n))
		for range n / 2 {
			data = binary.BigEndian.AppendUint16(data, protocol.NEGOTIATION_TYPE_INFO_DESCRIPTION)
			data = binary.BigEndian.AppendUint16(data, protocol.NEGOTIATION_TYPE_INFO_NAME)
		}
		o, err := parseInfo(data)
		if err != nil {
			t.Fatal(err)
		}
		return len(infoReplies(protocol.NEGOTIATION_ID_OPTION_INFO, c, o.wants))
	}
	if once, often := ask(2), ask(8000); often != once {
		t.Fatalf("%d bytes for one question, %d for 4,000", once, often)
	}
}
