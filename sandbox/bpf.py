"""A small assembler for classic BPF, the machine that seccomp filters are written for.

An instruction is (operation, operand, where to if true, where to if false). A place is a label, or None for
the next instruction; jumps go forward only, which is all that the kernel takes. See linux/filter.h.
"""

import struct

LOAD, AND, RETURN = 0x20, 0x54, 0x06  # load a 32-bit word of the input; mask it; end with a verdict
EQUAL, AT_LEAST, ANY_BIT = 0x15, 0x35, 0x45  # compare the loaded word with the operand
_REACH = 255


def assemble(lines):
    """Bytes of a program. `lines` holds instructions and labels (strings), each label naming what follows."""
    places, program = {}, []
    for line in lines:
        if isinstance(line, str):
            places[line] = len(program)
        else:
            program.append(line)
    code = []
    for at, (operation, operand, *jumps) in enumerate(program):
        yes, no = (0 if place is None else places[place] - at - 1 for place in jumps or (None, None))
        if not (0 <= yes <= _REACH and 0 <= no <= _REACH):
            raise ValueError(f"instruction {at} jumps too far or back: {yes}, {no}")
        code.append(struct.pack("<HBBI", operation, yes, no, operand))
    return b"".join(code)
