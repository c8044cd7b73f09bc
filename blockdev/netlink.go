package blockdev

import (
	"fmt"

	"github.com/mdlayher/netlink"
)

// The kernel's generic netlink family "nbd" (linux/nbd-netlink.h). An attribute
// is a 4-byte header (length u16, type u16, host byte order) and its value,
// padded to 4 bytes.
//
//	CONNECT   INDEX? SIZE_BYTES BLOCK_SIZE_BYTES SERVER_FLAGS TIMEOUT? DEAD_CONN_TIMEOUT? SOCKETS{ITEM{FD}...}
//	reply     INDEX
//	RECONF.   as CONNECT, with INDEX; the sockets replace connections that were lost
//	DISCONN.  INDEX
//	STATUS    INDEX?      reply  DEVICE_LIST{ITEM{INDEX CONNECTED}...}
const (
	nlFamily  = "nbd"
	nlVersion = 1

	nlConnect    = 1
	nlDisconnect = 2
	nlReconnect  = 3 // NBD_CMD_RECONFIGURE
	nlStatus     = 5

	attrIndex       = 1 // u32
	attrSize        = 2 // u64
	attrBlockSize   = 3 // u64
	attrTimeout     = 4 // u64, seconds
	attrServerFlags = 5 // u64
	attrClientFlags = 6 // u64
	attrSockets     = 7 // nested
	attrDeadTimeout = 8 // u64, seconds
	attrDeviceList  = 9 // nested

	attrSockItem = 1 // nested
	attrSockFD   = 1 // u32

	attrDevItem      = 1 // nested
	attrDevIndex     = 1 // u32
	attrDevConnected = 2 // u8
)

// connectMessage is what CONNECT and RECONFIGURE say.
type connectMessage struct {
	index       int // negative: the kernel chooses
	size        uint64
	blockSize   uint64
	flags       uint16
	timeout     uint64 // seconds, 0: the kernel waits for ever
	deadTimeout uint64 // seconds, 0: a lost connection fails requests at once
	fds         []int
}

func (m connectMessage) encode() ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	if m.index >= 0 {
		ae.Uint32(attrIndex, uint32(m.index))
	}
	ae.Uint64(attrSize, m.size)
	ae.Uint64(attrBlockSize, m.blockSize)
	ae.Uint64(attrServerFlags, uint64(m.flags))
	if m.timeout > 0 {
		ae.Uint64(attrTimeout, m.timeout)
	}
	if m.deadTimeout > 0 {
		ae.Uint64(attrDeadTimeout, m.deadTimeout)
	}
	ae.Nested(attrSockets, func(list *netlink.AttributeEncoder) error {
		for _, fd := range m.fds {
			list.Nested(attrSockItem, func(item *netlink.AttributeEncoder) error {
				item.Uint32(attrSockFD, uint32(fd))
				return nil
			})
		}
		return nil
	})
	return ae.Encode()
}

func encodeIndex(index int) ([]byte, error) {
	ae := netlink.NewAttributeEncoder()
	ae.Uint32(attrIndex, uint32(index))
	return ae.Encode()
}

// decodeIndex reads the reply to CONNECT.
func decodeIndex(b []byte) (int, error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return 0, err
	}
	index := -1
	for ad.Next() {
		if ad.Type() == attrIndex {
			index = int(ad.Uint32())
		}
	}
	if err := ad.Err(); err != nil {
		return 0, err
	}
	if index < 0 {
		return 0, fmt.Errorf("the kernel's answer names no device")
	}
	return index, nil
}

// decodeStatus reads the reply to STATUS.
func decodeStatus(b []byte) ([]KernelDevice, error) {
	ad, err := netlink.NewAttributeDecoder(b)
	if err != nil {
		return nil, err
	}
	var out []KernelDevice
	for ad.Next() {
		if ad.Type() != attrDeviceList {
			continue
		}
		ad.Nested(func(list *netlink.AttributeDecoder) error {
			for list.Next() {
				if list.Type() != attrDevItem {
					continue
				}
				list.Nested(func(item *netlink.AttributeDecoder) error {
					var d KernelDevice
					for item.Next() {
						switch item.Type() {
						case attrDevIndex:
							d.Path = devicePath(int(item.Uint32()))
						case attrDevConnected:
							d.Connected = item.Uint8() != 0
						}
					}
					out = append(out, d)
					return nil
				})
			}
			return nil
		})
	}
	return out, ad.Err()
}
