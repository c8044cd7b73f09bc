package catalog

import (
	"fmt"

	"github.com/redoubt-dr/redoubt"
)

// Command is a change of the catalog. A command that is refused changes
// nothing; its verdict depends on the catalog and its own fields only, never
// on a clock or a random number.
type Command interface {
	kind() kind
	check() error                // what can be judged without the catalog
	encode(e *encoder)           // the body
	apply(s *state) (any, error) // all or nothing
}

// Name is the command's name, such as CommitSegments; nil is Checkpoint.
func Name(c Command) string {
	if c == nil {
		return kindCheckpoint.String()
	}
	return c.kind().String()
}

// Validate returns ErrInvalid for a command that no catalog would take: what can be
// judged without one.
func Validate(c Command) error { return c.check() }

// kind numbers the commands in the log. Numbers are never used again.
type kind uint8

const (
	kindCheckpoint       kind = 1 // of the log verifier; changes nothing
	kindPutNode          kind = 2
	kindCreateGroup      kind = 3
	kindUpdateGroup      kind = 4
	kindCommitSegments   kind = 5
	kindShardsStored     kind = 6
	kindSetOwner         kind = 7
	kindPromote          kind = 8
	kindCommitFailover   kind = 9
	kindCancelFailover   kind = 10
	kindReverseReplicate kind = 11
	kindSetState         kind = 12
	kindRecordReceipt    kind = 13

	kindInviteNode   kind = 40
	kindAnnounceNode kind = 41
	kindActivateNode kind = 42
	kindDrainNode    kind = 43
	kindRemoveNode   kind = 44
	kindPlanMoves    kind = 45
	kindFinishMoves  kind = 46
	kindLevelShards  kind = 47

	kindSetPolicy    kind = 60
	kindAdvanceClock kind = 61
	kindSetPin       kind = 62
	kindRemovePin    kind = 63
	kindBeginPlan    kind = 64
	kindAdvancePlan  kind = 65
	kindThinSegments kind = 66
	kindReportShards kind = 67

	kindRecordVerification kind = 80
	kindBeginResync        kind = 81
	kindRequireResync      kind = 82
	kindBindJournal        kind = 83

	kindBeginJob        kind = 70
	kindClaimJob        kind = 71
	kindStepJob         kind = 72
	kindEndJob          kind = 73
	kindTellJob         kind = 74
	kindOperate         kind = 75
	kindEraseDone       kind = 76
	kindNoteDisks       kind = 77
	kindChangeDisks     kind = 78
	kindRenewGroup      kind = 79
	kindOpenGap         kind = 84
	kindAddMarks        kind = 88
	kindCommitSet       kind = 89
	kindPutCheck        kind = 90
	kindForgetSets      kind = 91
	kindPutRecoveryPlan kind = 92
	kindStartRun        kind = 93
	kindClaimRun        kind = 94
	kindAdvanceRun      kind = 95
	kindReopenRun       kind = 96
)

func (k kind) String() string {
	names := [...]string{kindCheckpoint: "Checkpoint", kindPutNode: "PutNode", kindCreateGroup: "CreateGroup",
		kindUpdateGroup: "UpdateGroup", kindCommitSegments: "CommitSegments", kindShardsStored: "ShardsStored",
		kindSetOwner: "SetOwner", kindPromote: "Promote", kindCommitFailover: "CommitFailover",
		kindCancelFailover: "CancelFailover", kindReverseReplicate: "ReverseReplicate", kindSetState: "SetState",
		kindRecordReceipt: "RecordReceipt", kindInviteNode: "InviteNode", kindAnnounceNode: "AnnounceNode",
		kindActivateNode: "ActivateNode", kindDrainNode: "DrainNode", kindRemoveNode: "RemoveNode",
		kindPlanMoves: "PlanMoves", kindFinishMoves: "FinishMoves", kindLevelShards: "LevelShards",
		kindSetPolicy: "SetPolicy", kindAdvanceClock: "AdvanceClock", kindSetPin: "SetPin", kindRemovePin: "RemovePin",
		kindBeginPlan: "BeginPlan", kindAdvancePlan: "AdvancePlan", kindThinSegments: "ThinSegments", kindReportShards: "ReportShards",
		kindPutRecoveryPlan: "PutRecoveryPlan", kindStartRun: "StartRun", kindClaimRun: "ClaimRun", kindAdvanceRun: "AdvanceRun", kindReopenRun: "ReopenRun",
		kindBeginJob: "BeginJob", kindClaimJob: "ClaimJob", kindStepJob: "StepJob", kindEndJob: "EndJob", kindTellJob: "TellJob",
		kindOperate: "Operate", kindEraseDone: "EraseDone", kindNoteDisks: "NoteDisks", kindChangeDisks: "ChangeDisks", kindRenewGroup: "RenewGroup",
		kindRecordVerification: "RecordVerification", kindBeginResync: "BeginResync", kindRequireResync: "RequireResync", kindBindJournal: "BindJournal",
		kindOpenGap:  "OpenGap",
		kindAddMarks: "AddMarks", kindCommitSet: "CommitSet", kindPutCheck: "PutCheck", kindForgetSets: "ForgetSets"}
	if int(k) < len(names) && names[k] != "" {
		return names[k]
	}
	return fmt.Sprintf("Command-%d", uint8(k))
}

// ClientID names one run of one node. Serials count its proposals from 1.
type ClientID [16]byte

// Envelope is a command as it stands in the Raft log:
//
//	 0      2    3    4        20        28       36          n-4   n
//	+------+----+----+---------+---------+--------+-----------+-----+
//	| "RC" | v1 |kind| client  | serial  | floor  | body      | CRC |
//	+------+----+----+---------+---------+--------+-----------+-----+
//
// floor: the client has the answers of all serials below it. CRC: CRC32C of
// everything before it. Numbers are big endian.
type Envelope struct {
	Client ClientID
	Serial uint64
	Floor  uint64
	Cmd    Command // nil for a checkpoint
}

const (
	commandVersion  = 1
	envelopeHeadLen = 36
	// MaxCommand bounds an encoded command, in bytes.
	MaxCommand = 4 << 20
)

// EncodeEnvelope returns the log entry. Nothing is checked, also not MaxCommand.
func EncodeEnvelope(v Envelope) []byte {
	k := kindCheckpoint
	if v.Cmd != nil {
		k = v.Cmd.kind()
	}
	e := encoder{b: make([]byte, 0, 512)}
	e.b = append(e.b, 'R', 'C', commandVersion, uint8(k))
	e.b = append(e.b, v.Client[:]...)
	e.u64(v.Serial)
	e.u64(v.Floor)
	if v.Cmd != nil {
		v.Cmd.encode(&e)
	}
	e.u32(redoubt.Checksum(e.b))
	return e.b
}

// IsCheckpoint reports whether the log entry is a checkpoint of the log
// verifier; it reads the head only.
func IsCheckpoint(b []byte) bool {
	return len(b) >= 4 && b[0] == 'R' && b[1] == 'C' && b[2] == commandVersion && kind(b[3]) == kindCheckpoint
}

// IsCommit reports whether the log entry commits segments; it reads the head only.
func IsCommit(b []byte) bool {
	return len(b) >= 4 && b[0] == 'R' && b[1] == 'C' && b[2] == commandVersion && kind(b[3]) == kindCommitSegments
}

// DecodeEnvelope reads a log entry. Damage is ErrCorrupt, what this version does
// not know ErrVersion.
func DecodeEnvelope(b []byte) (Envelope, error) {
	var v Envelope
	bad := func(cause error) (Envelope, error) { return Envelope{}, fail("decode command", "", cause, "") }
	if len(b) < envelopeHeadLen+4 || len(b) > MaxCommand || b[0] != 'R' || b[1] != 'C' {
		return bad(fmt.Errorf("not a command: %w", redoubt.ErrCorrupt))
	}
	if b[2] > commandVersion {
		return bad(fmt.Errorf("format %d: %w", b[2], redoubt.ErrVersion))
	}
	n := len(b) - 4
	sum := decoder{b: b[n:]}
	if sum.u32() != redoubt.Checksum(b[:n]) || b[2] != commandVersion {
		return bad(fmt.Errorf("checksum: %w", redoubt.ErrCorrupt))
	}
	d := &decoder{b: b[4:n]}
	copy(v.Client[:], d.take(16))
	v.Serial, v.Floor = d.u64(), d.u64()
	cmd, known := decodeBody(kind(b[3]), d)
	if v.Cmd = cmd; !known {
		return bad(fmt.Errorf("%v: %w", kind(b[3]), redoubt.ErrVersion))
	}
	if err := d.done(); err != nil {
		return bad(err)
	}
	return v, nil
}

func decodeBody(k kind, d *decoder) (Command, bool) {
	switch k {
	case kindCheckpoint:
		return nil, true
	case kindPutNode:
		return PutNode{Node: d.node()}, true
	case kindCreateGroup:
		return decodeCreateGroup(d), true
	case kindUpdateGroup:
		return decodeUpdateGroup(d), true
	case kindCommitSegments:
		return decodeCommitSegments(d), true
	case kindShardsStored:
		return decodeShardsStored(d), true
	case kindSetOwner:
		return decodeSetOwner(d), true
	case kindPromote:
		return decodePromote(d), true
	case kindCommitFailover:
		return CommitFailover{Group: d.groupID(), Epoch: d.epoch(), Now: d.i64()}, true
	case kindCancelFailover:
		return CancelFailover{Group: d.groupID(), NewEpoch: d.epoch(), Now: d.i64()}, true
	case kindReverseReplicate:
		return ReverseReplicate{Group: d.groupID(), Epoch: d.epoch(), Now: d.i64()}, true
	case kindSetState:
		return SetState{Group: d.groupID(), Epoch: d.epoch(), Op: Operation(d.u8()), Now: d.i64()}, true
	case kindRecordReceipt:
		return RecordReceipt{Group: d.groupID(), Receipt: d.receiptValue()}, true
	case kindSetPolicy:
		return SetPolicy{Group: d.groupID(), Policy: d.policy(), Default: d.bool()}, true
	case kindAdvanceClock:
		return AdvanceClock{Group: d.groupID(), To: d.i64(), Confirm: d.bool()}, true
	case kindSetPin:
		return SetPin{Group: d.groupID(), Pin: d.pin()}, true
	case kindRemovePin:
		return RemovePin{Group: d.groupID(), Name: d.str(maxName, "pin")}, true
	case kindBeginPlan:
		return decodeBeginPlan(d), true
	case kindAdvancePlan:
		return decodeAdvancePlan(d), true
	case kindThinSegments:
		return decodeThinSegments(d), true
	case kindReportShards:
		return decodeReportShards(d), true
	case kindRecordVerification:
		return RecordVerification{Group: d.groupID(), Verification: d.verification()}, true
	case kindBeginResync:
		return BeginResync{Group: d.groupID(), NewEpoch: d.epoch(), Now: d.i64()}, true
	case kindRequireResync:
		return RequireResync{Group: d.groupID(), Epoch: d.epoch(), Reason: d.str(maxText, "reason"), Now: d.i64()}, true
	case kindBindJournal:
		return BindJournal{Group: d.groupID(), Epoch: d.epoch(), Journal: d.str(maxName, "journal")}, true
	case kindOperate:
		return decodeOperate(d), true
	case kindEraseDone:
		return decodeEraseDone(d), true
	case kindNoteDisks:
		return decodeNoteDisks(d), true
	case kindChangeDisks:
		return decodeChangeDisks(d), true
	case kindRenewGroup:
		return RenewGroup(decodeCreateGroup(d)), true
	case kindOpenGap:
		return decodeOpenGap(d), true
	case kindInviteNode:
		return InviteNode{ID: d.nodeID()}, true
	case kindAnnounceNode:
		return decodeAnnounce(d), true
	case kindActivateNode:
		return ActivateNode{ID: d.nodeID()}, true
	case kindDrainNode:
		return DrainNode{ID: d.nodeID(), Successor: d.nodeID(), Leave: d.bool(), Cancel: d.bool()}, true
	case kindRemoveNode:
		return RemoveNode{ID: d.nodeID(), Force: d.bool()}, true
	case kindPlanMoves:
		return decodePlanMoves(d), true
	case kindFinishMoves:
		return decodeFinishMoves(d), true
	case kindPutRecoveryPlan:
		return decodePutRecoveryPlan(d), true
	case kindStartRun:
		return decodeStartRun(d), true
	case kindClaimRun:
		return decodeClaimRun(d), true
	case kindAdvanceRun:
		return decodeAdvanceRun(d), true
	case kindReopenRun:
		return ReopenRun(decodeAdvanceRun(d)), true
	case kindBeginJob:
		return decodeBeginJob(d), true
	case kindClaimJob:
		return ClaimJob{Job: d.jobRef(), Node: d.nodeID(), Term: d.uvar(), Now: d.i64()}, true
	case kindStepJob:
		return decodeStepJob(d), true
	case kindEndJob:
		return decodeEndJob(d), true
	case kindTellJob:
		return decodeTellJob(d), true
	case kindLevelShards:
		return LevelShards(decodePlanMoves(d)), true
	case kindAddMarks:
		return decodeAddMarks(d), true
	case kindCommitSet:
		return CommitSet{Set: d.set()}, true
	case kindForgetSets:
		return ForgetSets{}, true
	case kindPutCheck:
		return PutCheck{Group: d.groupID(), Check: d.checkValue()}, true
	}
	return nil, false
}

func (d *decoder) groupID() redoubt.GroupID { return redoubt.GroupID(d.str(maxName, "group")) }
func (d *decoder) nodeID() redoubt.NodeID   { return redoubt.NodeID(d.str(maxName, "node")) }
func (d *decoder) epoch() redoubt.Epoch     { return redoubt.Epoch(d.uvar()) }

func (d *decoder) receiptValue() Receipt {
	if r := d.receipt(); r != nil {
		return *r
	}
	d.bad("no receipt")
	return Receipt{}
}

func invalid(op, object, why string) error {
	return fail(op, object, fmt.Errorf("%s: %w", why, redoubt.ErrInvalid), "")
}
