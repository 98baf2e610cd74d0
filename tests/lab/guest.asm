; Copyright (c) 2026, the hvm.pair developers
; GNU General Public License v3.0+ (see LICENSES/GPL-3.0-or-later.txt or https://www.gnu.org/licenses/gpl-3.0.txt)
; SPDX-License-Identifier: GPL-3.0-or-later
;
; The guest that counts: a VM that notices by itself when its RAM and its disks are not of the same moment.
;
; Real mode under SeaBIOS, machine `pc`, 32 MiB, 1 to 9 disks. `nasm -f bin`; the result is the start of every disk of the VM
; (it boots from disk 1, the others carry it for simplicity).
;
; One turn:
;   1. the RAM pattern must be that of the counter;
;   2. the data sector (LBA 8) of every disk must be that of the counter: it was written in the turn before;
;   3. the counter goes up by one in RAM, then the pattern, then the data sectors of disk 1, 2, ... in this order;
;   4. one beat goes out on COM1; then `hlt` until the turn's ticks are over (1 tick = 54.9 ms of the VM's own time).
;
; Why a pause, a save or a live migration at any instruction is never reported, as long as RAM and disks are taken at the same
; moment: step 1 and 2 compare only what an earlier turn had finished. INT 13h is synchronous, SeaBIOS polls for the
; completion, and QEMU waits for all requests in flight before it takes the RAM (bdrv_drain_all in do_vm_stop): a request is
; either done on the disk with its completion in RAM, or not begun. A save between the writes of disk 1 and disk 2 is
; carried on after the restore, before anything compares them.
;
; A beat is 19 bytes:  KIND WHERE VALUE(8) SEEN(2) RTC(6) '\n'
;   KIND  B  cold boot      WHERE: number of disks  VALUE: the counter, as found on disk 1
;         C  count          WHERE: number of disks  VALUE: the counter, now in RAM and on all disks
;         X  disagreement   WHERE: disk 1-9, or R   VALUE: what was found instead of the counter (R: the RAM pattern)
;         L  behind, only after B: from disk WHERE on they are one write behind disk 1, as a power cut between two writes
;            leaves them; they are set right, and it is no disagreement. VALUE: what was found
;         E  disk error     WHERE: disk 1-9         VALUE: INT 13h function * 256 + status; it is tried again for ever
;   SEEN  disagreements since the cold boot, in hex, stops at FF: one lost X line does not hide it
;   RTC   HHMMSS of the CMOS clock, which goes on while the VM is saved
;
; Values that are patched into the first sector when a disk is made (little endian words):
;   offset  4  "HVMG", to recognise the program
;   offset  8  ticks per turn; 2 is 9.1 beats per second
;   offset 10  load: KiB of RAM dirtied per turn, up to 24576, going round in 24 MiB above 1 MiB; 0 none
;              (a dword in each 512 bytes: what counts for a migration is the page)
;   offset 12  load: sectors written per turn and disk, going round in the load area; 0 none
;   offset 14  load area: its length in blocks of 64 sectors; it begins at LBA 128; 0 no disk load
;   offset 16  MiB up to which RAM is filled at a cold boot, from 1 MiB on; 0 none. Random numbers, one in each 64 bytes: no page of it
;              is empty, and what is empty costs a save nothing. The last 8 MiB of RAM may belong to the BIOS
;
; The data sector holds the counter 128 times: a torn sector is seen too. Little endian, so `od -A n -t u4 -j 4096 -N 4`.
;
; SeaBIOS does not negotiate VIRTIO_BLK_F_FLUSH, so QEMU makes each of its writes on virtio-blk durable before it completes
; (virtio_blk_set_status: write-through): a beat says that its counter has reached stable storage, and after a power cut
; a cold boot finds at least the last counter that the outside has seen.

        bits    16
        cpu     386
        org     0x7C00

SECTORS         equ 4                   ; of this program; LBA 0 to 3
DATA_LBA        equ 8
LOAD_LBA        equ 128
LOAD_CHUNK      equ 64                  ; sectors, 32 KiB: half a segment
LOAD_RAM        equ 24 << 20            ; bytes; what lies above 25 MiB of the 32 may belong to the BIOS
PATTERN_SEGMENT equ 0x2000
PATTERN_PAGES   equ 4                   ; 64 KiB apart: a live migration sends them at different moments
PATTERN_DWORDS  equ 16                  ; per page: few, for a torn image is torn between pages
LOAD_SEGMENT    equ 0x1000
; What is written lies in other pages than the program. QEMU translates code by the page: each write into such a page, if only of
; the stack, takes a slow path there, and ten times slower again in an emulated host.
VARIABLES       equ 0xA000
SECTOR          equ 0xB000
STACK           equ 0xE000
COM1            equ 0x3F8
BDA_TICKS       equ 0x46C               ; 0040:006C
BDA_DISKS       equ 0x475               ; 0040:0075
BEAT            equ 19

start:
        jmp     short boot
        times   4 - ($ - $$) db 0
        db      "HVMG"
ticks:          dw 2
load_kib:       dw 0
load_sectors:   dw 0
load_area:      dw 0
fill_mib:       dw 0

boot:
        cli
        xor     ax, ax
        mov     ds, ax
        mov     es, ax
        mov     ss, ax
        mov     sp, STACK
        cld
        sti
        jmp     0:.load                 ; a BIOS may have come as 07C0:0000
.load:
        mov     si, load_packet         ; copied each time, for the BIOS writes into it
        mov     di, packet
        mov     cx, 8
        rep movsw
        mov     si, packet
        mov     ah, 0x42                ; DL is still the disk that the BIOS booted from
        int     0x13
        jnc     main
        hlt
        jmp     .load

; Disk address packet of INT 13h AH=42h, for the rest of the program
load_packet:    db 16, 0
                dw SECTORS - 1, start + 512, 0
                dd 1, 0

        times   510 - ($ - $$) db 0
        dw      0xAA55

; ---------------------------------------------------------------------------------------------------------------------------
main:
        mov     di, zeroed
        mov     cx, (variables_end - zeroed) / 2
        xor     ax, ax
        rep stosw
        mov     al, [BDA_DISKS]
        cmp     al, 9
        jbe     .some
        mov     al, 9
.some:
        mov     [disks], al

        ; The ticks are counted here instead of by the BIOS: its own INT 8 looks after keyboard, floppy and USB at each tick.
        cli
        mov     word [8 * 4], tick
        mov     word [8 * 4 + 2], 0
        sti

        mov     si, serial_setup        ; 115200 8N1, no interrupts, no FIFO (QEMU sends byte by byte either way)
        mov     cx, serial_setup_pairs
.serial:
        lodsw
        movzx   dx, al
        add     dx, COM1
        mov     al, ah
        out     dx, al
        loop    .serial

        call    fill

        ; Cold boot: the counter comes from disk 1. The others may be one write behind, from some disk on (L); all else is X.
        call    aim_data
        mov     dl, 0x80
        call    disk_read
        mov     eax, [sector]
        mov     [counter], eax
        mov     [expected], eax
        mov     al, 'B'
        call    beat_counter
.check:
        call    disk_read
        mov     eax, [expected]
        call    compare_sector
        je      .next
        cmp     dl, 0x80
        je      .wrong                  ; only a torn sector: the counter came from here
        mov     eax, [counter]
        dec     eax
        call    compare_sector
        jne     .wrong
        mov     [expected], eax
        mov     ebx, eax
        mov     al, 'L'
        call    where_disk
        call    beat
        jmp     .next
.wrong:
        mov     eax, [expected]
        call    compare_sector
        call    report_disk
.next:
        call    next_disk
        jb      .check
        mov     eax, [counter]
        call    fill_pattern
        call    write_data              ; all disks alike before the first turn compares them

; ---------------------------------------------------------------------------------------------------------------------------
turn:
        mov     ax, [BDA_TICKS]
        mov     [turn_began], ax

        call    check_pattern
        call    aim_data
        mov     dl, 0x80
.check:
        call    disk_read
        mov     eax, [counter]
        call    compare_sector
        je      .next
        call    report_disk
.next:
        call    next_disk
        jb      .check

        mov     eax, [counter]
        inc     eax
        mov     [counter], eax
        call    fill_pattern
        call    write_data
        call    load
        mov     al, 'C'
        call    beat_counter
.wait:
        hlt                             ; at least once: a turn that took too long does not burn the core
        mov     ax, [BDA_TICKS]
        sub     ax, [turn_began]
        cmp     ax, [ticks]
        jb      .wait
        jmp     turn

; INT 8, at 18.2 Hz
tick:
        push    ax
        push    ds
        xor     ax, ax
        mov     ds, ax
        inc     dword [BDA_TICKS]
        mov     al, 0x20                ; end of interrupt, to the first interrupt controller
        out     0x20, al
        pop     ds
        pop     ax
        iret

; --- disks -----------------------------------------------------------------------------------------------------------------

; DL to the next disk; carry while there is one.
next_disk:
        inc     dl
        mov     al, dl
        sub     al, 0x80
        cmp     al, [disks]
        ret

; Point the packet at the data sector.
aim_data:
        mov     word [io_count], 1
        mov     word [packet.offset], sector
        mov     word [packet.segment], 0
        mov     dword [packet.lba], DATA_LBA
        ret

; Write the counter to every data sector. Changes EAX, CX, DL, DI.
write_data:
        call    aim_data
        mov     eax, [counter]
        mov     di, sector
        mov     cx, 128
        rep stosd
        mov     dl, 0x80
.next:
        call    disk_write
        call    next_disk
        jb      .next
        ret

; Transfer what the packet says on disk DL; comes back when it is done. Changes AX.
disk_read:
        mov     ah, 0x42
        jmp     disk
disk_write:
        mov     ax, 0x4300              ; AL = 0: without verify
disk:
        pushad
        mov     bx, ax
.again:
        mov     ax, [io_count]          ; the BIOS writes into it how many it has done
        mov     [packet.count], ax
        mov     ax, bx
        mov     si, packet
        push    bx
        push    dx
        int     0x13
        pop     dx
        pop     bx
        jnc     .done
        push    bx
        mov     bl, ah                  ; status
        movzx   ebx, bx                 ; BH is the function
        mov     al, 'E'
        call    where_disk
        call    beat
        mov     ah, 0                   ; reset the disk, as every BIOS manual wants it before the next try
        int     0x13
        pop     bx
        hlt
        hlt
        jmp     .again
.done:
        popad
        ret

; Compare the whole sector with EAX; not equal: EBX is what is there instead. Keeps EAX, DL.
compare_sector:
        mov     di, sector
        mov     cx, 128
        repe scasd
        je      .end
        mov     ebx, [di - 4]           ; does not change the flags
.end:
        ret

; --- RAM pattern -----------------------------------------------------------------------------------------------------------

; Fill the pattern of the counter EAX: 16 dwords of counter + N * 2^24 in page N, so that no page can stand for another.
; Changes EAX, CX, DX, DI.
fill_pattern:
        mov     dx, PATTERN_SEGMENT
.page:
        mov     es, dx
        xor     di, di
        mov     cx, PATTERN_DWORDS
        rep stosd
        add     eax, 0x01000000
        add     dx, 0x1000
        cmp     dx, PATTERN_SEGMENT + PATTERN_PAGES * 0x1000
        jb      .page
        xor     dx, dx
        mov     es, dx
        ret

; Report each page that is not of this counter. Changes EAX, EBX, CX, DX, DI.
check_pattern:
        mov     eax, [counter]
        mov     dx, PATTERN_SEGMENT
.page:
        mov     es, dx
        xor     di, di
        mov     cx, PATTERN_DWORDS
        repe scasd
        je      .next
        mov     ebx, [es:di - 4]
        push    eax
        sub     eax, [counter]          ; what the page number adds
        sub     ebx, eax
        mov     ax, 'X' + 'R' * 256
        call    disagree
        pop     eax
.next:
        add     eax, 0x01000000
        add     dx, 0x1000
        cmp     dx, PATTERN_SEGMENT + PATTERN_PAGES * 0x1000
        jb      .page
        xor     dx, dx
        mov     es, dx
        ret

; --- beats -----------------------------------------------------------------------------------------------------------------

; AH = the figure of disk DL
where_disk:
        mov     ah, dl
        sub     ah, 0x80 - '1'
        ret

; Disk DL holds EBX instead of the counter.
report_disk:
        mov     al, 'X'
        call    where_disk
disagree:
        cmp     byte [seen], 0xFF
        je      beat
        inc     byte [seen]
        jmp     beat

; A beat of kind AL with the counter.
beat_counter:
        mov     ah, [disks]
        add     ah, '0'
        mov     ebx, [counter]

; A beat: AL kind, AH where, EBX value. Keeps everything.
beat:
        pushad
        push    es
        xor     dx, dx
        mov     es, dx
        mov     di, line
        stosw                           ; kind, where
        mov     cx, 4
.value:
        rol     ebx, 8
        mov     al, bl
        call    hex
        loop    .value
        mov     al, [seen]
        call    hex
        mov     ah, 2                   ; BIOS: CH hours, CL minutes, DH seconds, all BCD
        push    di
        int     0x1A
        pop     di
        jc      .clock                  ; being updated: the time of the beat before
        mov     [time], cx
        mov     [time + 2], dh
.clock:
        mov     al, [time + 1]
        call    hex
        mov     al, [time]
        call    hex
        mov     al, [time + 2]
        call    hex
        mov     al, 10
        stosb

        mov     si, line
        mov     cx, BEAT
        mov     bx, [BDA_TICKS]
.send:
        mov     dx, COM1 + 5
        in      al, dx
        test    al, 0x20                ; transmitter empty; without a port this reads FF
        jnz     .ready
        mov     ax, [BDA_TICKS]
        sub     ax, bx
        cmp     ax, 3
        jb      .send
        jmp     .end                    ; stuck: the rest of this beat is given up, the guest must go on
.ready:
        mov     dx, COM1
        lodsb
        out     dx, al
        loop    .send
.end:
        pop     es
        popad
        ret

; AL as two hex digits to [DI]. Changes AX.
hex:
        mov     ah, al
        shr     al, 4
        call    .digit
        mov     al, ah
        and     al, 15
.digit:
        add     al, '0'
        cmp     al, '9'
        jbe     .store
        add     al, 'A' - '9' - 1
.store:
        stosb
        ret

; "Unreal mode": give FS a limit of 4 GiB, which it keeps in real mode. A BIOS call may take it away again, therefore anew for each
; piece, and without interrupts meanwhile: the caller switches them on again. Changes BX, EDX.
flat:
        cli
        lgdt    [gdt_pointer]
        mov     edx, cr0
        or      dl, 1
        mov     cr0, edx
        mov     bx, 8
        mov     fs, bx
        and     dl, 0xFE
        mov     cr0, edx
        ret

; Fill RAM, at a cold boot. Changes EAX, BX, CX, EDX, EDI, EBP.
fill:
        movzx   ebp, word [fill_mib]
        shl     ebp, 20
        mov     edi, 0x100000
        mov     eax, 1
.more:
        cmp     edi, ebp
        jae     .end
        call    flat
        mov     cx, 4096
.step:
        imul    eax, eax, 1664525
        add     eax, 1013904223
        mov     [fs:edi], eax
        add     edi, 64
        dec     cx
        jnz     .step
        sti
        jmp     .more
.end:
        ret

; --- load for tests --------------------------------------------------------------------------------------------------------
load:
        movzx   ecx, word [load_kib]
        add     cx, cx                  ; steps of 512 bytes; 32 MiB - 1 KiB at most: no overflow
        jz      .disks
        mov     edi, [load_ram_at]
        mov     eax, [counter]
.more:
        call    flat
        mov     dx, 256
.step:
        mov     [fs:edi + 0x100000], eax
        add     edi, 512
        cmp     edi, LOAD_RAM
        jb      .inside
        xor     edi, edi
.inside:
        dec     cx
        jz      .ram_done
        dec     dx
        jnz     .step
        sti
        jmp     .more
.ram_done:
        sti
        mov     [load_ram_at], edi

.disks:
        cmp     word [load_area], 0
        je      .end
        mov     bp, [load_sectors]
        test    bp, bp
        jz      .end
        mov     dx, LOAD_SEGMENT        ; 32 KiB that do not compress, other ones each turn (Numerical Recipes' generator)
        mov     es, dx
        xor     di, di
        mov     cx, 8192
        mov     eax, [counter]
.fill:
        imul    eax, eax, 1664525
        add     eax, 1013904223
        stosd
        loop    .fill
        xor     dx, dx
        mov     es, dx
        mov     word [packet.offset], 0
        mov     word [packet.segment], LOAD_SEGMENT
.write:
        test    bp, bp
        jz      .end
        mov     cx, LOAD_CHUNK
        cmp     bp, cx
        jae     .size
        mov     cx, bp
.size:
        sub     bp, cx
        mov     [io_count], cx
        movzx   eax, word [load_disk_at]
        inc     ax
        cmp     ax, [load_area]
        jb      .aim
        xor     ax, ax
.aim:
        mov     [load_disk_at], ax
        shl     eax, 6
        add     eax, LOAD_LBA
        mov     [packet.lba], eax
        mov     dl, 0x80
.next:
        call    disk_write
        call    next_disk
        jb      .next
        jmp     .write
.end:
        ret

; --- data ------------------------------------------------------------------------------------------------------------------

; COM1 register, value
serial_setup:
        db      1, 0x00                 ; no interrupts
        db      3, 0x80                 ; divisor: 1, 115200 baud
        db      0, 0x01
        db      1, 0x00
        db      3, 0x03                 ; 8N1
        db      2, 0x00                 ; no FIFO
        db      4, 0x03                 ; DTR, RTS
serial_setup_pairs      equ ($ - serial_setup) / 2

        align   8
gdt:            dq 0
                dw 0xFFFF, 0, 0x9300, 0x00CF    ; data, accessed, base 0, 4 GiB
gdt_pointer:    dw 15
                dd gdt

        times   SECTORS * 512 - ($ - $$) db 0   ; fails when the program is longer

        absolute VARIABLES
variables:
packet:         resb 2                  ; disk address packet of INT 13h AH=42h and 43h
.count:         resw 1
.offset:        resw 1
.segment:       resw 1
.lba:           resd 2
zeroed:
counter:        resd 1
expected:       resd 1                  ; at boot: what the next disk should hold
load_ram_at:    resd 1
turn_began:     resw 1
io_count:       resw 1
load_disk_at:   resw 1
time:           resb 3                  ; minutes, hours, seconds
disks:          resb 1
seen:           resb 1
line:           resb BEAT
                alignb 4
variables_end:
        absolute SECTOR
sector:         resb 512
