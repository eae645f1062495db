/* SPDX-License-Identifier: Apache-2.0 */
/* test_print_samples.h - documents as printers read them: what has to be found in each, in the
 * order of print_finds.def, and how many pages there are. */
#ifndef TEST_PRINT_SAMPLES_H
#define TEST_PRINT_SAMPLES_H

#include "worker/print_scan.h"

#define UEL  "\x1b%-12345X"
#define PS   "%!PS-Adobe-3.0\n"
#define PDF  "%PDF-1.7\n"
#define TREE "2 0 obj << /Type /Pages /Kids [3 0 R] /Count 1 >> endobj\n"

#define DEEP "<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<<" /* 37 */

struct print_sample {
    const char *what;
    struct span in;
    const char *finds;
    uint32_t pages;
};

/* clang-format off */
static const struct print_sample print_samples[] = {
    /* -- nothing -- */
    {"nothing", SPAN(""), "", 0},
    {"text", SPAN("Hello.\n"), "", 0},
    {"blanks", SPAN(" \r\n\t\0\4 "), "", 0},
    {"UEL alone", SPAN(UEL), "", 0},

    /* -- PJL: where it is read -- */
    {"behind UEL", SPAN(UEL "@PJL FSDELETE NAME=\"0:\\a\"\r\n" UEL), "pjl-fsdelete", 0},
    {"at the front of the body", SPAN("@PJL FSDELETE NAME=\"0:\\a\"\r\n"), "pjl-fsdelete", 0},
    {"PJL, behind ^D", SPAN("\4@PJL FSINIT VOLUME=\"0:\"\n"), "pjl-fsinit", 0},
    {"small letters, tabs", SPAN(UEL "@pjl\t \tfsDelete\tname=\"a\"\n"), "pjl-fsdelete", 0},
    {"without a blank", SPAN(UEL "@PJLFSDELETE NAME=\"a\"\n"), "pjl-fsdelete", 0},
    {"without an end of line", SPAN(UEL "@PJL FSDELETE"), "pjl-fsdelete", 0},
    {"on the third line", SPAN(UEL "@PJL\r\n@PJL JOB NAME=\"x\"\r\n@PJL FSMKDIR NAME=\"x\"\r\n"), "pjl-fsmkdir", 0},
    {"behind empty lines and NULs", SPAN(UEL "\r\n\0\0 \n\n  @PJL FSINIT\n\n\n@PJL FSQUERY\n"), "pjl-fsinit pjl-fsquery", 0},
    {"behind a lone CR", SPAN(UEL "@PJL COMMENT x\r@PJL FSDELETE\r"), "pjl-fsdelete", 0},
    {"a lone CR in a comment", SPAN(UEL "@PJL COMMENT a\rb\n@PJL FSDELETE\n"), "pjl-fsdelete", 0},
    {"CR only, into PostScript", SPAN(UEL "@PJL\r@PJL ENTER LANGUAGE=POSTSCRIPT\r%!PS\r(a) deletefile\r"), "ps-deletefile", 0},
    {"a long line", SPAN(UEL "@PJL COMMENT " "0123456789012345678901234567890123456789012345678901234567890123456789"
                             "\n@PJL FSDELETE\n"), "pjl-fsdelete", 0},
    {"UEL in the middle of a line", SPAN(UEL "@PJL COMMENT \"" UEL "@PJL FSDELETE\n"), "pjl-fsdelete", 0},
    {"UEL behind a picture", SPAN("\xff\xd8\xff\xe0 picture " UEL "@PJL FSDELETE\n"), "pjl-fsdelete", 1},
    {"UEL in a PDF", SPAN(PDF TREE "4 0 obj (" UEL "@PJL FSDELETE\n) endobj"), "pjl-fsdelete", 0},
    {"UEL behind ESC", SPAN("\x1b" UEL "@PJL FSDELETE\n"), "pjl-fsdelete", 0},
    {"not all of UEL", SPAN("\x1b%-12345@PJL FSDELETE\n"), "", 0},
    {"in text", SPAN("In PJL one writes\n@PJL FSDELETE\n"), "", 0},
    {"in PCL", SPAN(UEL "@PJL ENTER LANGUAGE=PCL\n\x1b" "E Then comes\n@PJL FSDELETE\n"), "", 0},
    {"a longer word", SPAN(UEL "@PJL FSDELETED\n"), "", 0},
    {"in a comment of PJL", SPAN(UEL "@PJL COMMENT FSDELETE\n@PJL SET JOBNAME=\"FSDELETE\"\n"), "", 0},
    {"behind a language that the printer may not know", SPAN(UEL "@PJL ENTER LANGUAGE=NOSUCH\n@PJL FSDELETE\n"), "pjl-fsdelete", 0},
    {"behind PostScript that the printer may not know", SPAN(UEL "@PJL ENTER LANGUAGE=POSTSCRIPT\n@PJL FSDELETE\n(a) deletefile\n"),
     "pjl-fsdelete ps-deletefile", 0},

    /* -- PJL: what is said -- */
    {"a password is set", SPAN("@PJL SET PASSWORD=1\n"), "pjl-password", 0},
    {"... for a language", SPAN("@PJL SET LPARM : PCL PASSWORD = 1\n"), "pjl-password", 0},
    {"... for a port", SPAN("@PJL SET IPARM:LPT1 PASSWORD = 1\n"), "pjl-password", 0},
    {"a password is asked for", SPAN("@PJL INQUIRE PASSWORD\n"), "pjl-password", 0},
    {"... its default", SPAN("@PJL DINQUIRE PASSWORD\n"), "pjl-password", 0},
    {"... in another way", SPAN("@PJL INFO PASSWORD\n"), "pjl-password", 0},
    {"the number of a job that is held", SPAN("@PJL SET JOBPASSWORD=\"1234\"\n@PJL SET HOLDKEY=\"1234\"\n"), "", 0},
    {"asking for other things", SPAN("@PJL INQUIRE SERVICEMODE\n@PJL INFO ID\n"), "", 0},
    {"service mode", SPAN("@PJL SET SERVICEMODE=HPBOISEID\n"), "pjl-servicemode", 0},
    {"control panel lock", SPAN("@PJL SET CPLOCK=ON\n"), "pjl-lock", 0},
    {"disk lock", SPAN("@PJL SET DISKLOCK=ON\n"), "pjl-lock", 0},
    {"defaults", SPAN("@PJL DEFAULT COPIES=9\n"), "pjl-default", 0},
    {"defaults of a language", SPAN("@PJL DEFAULT LPARM:PCL SERVICEDAY=9\n"), "pjl-default", 0},
    {"defaults, no word", SPAN("@PJL DEFAULT\n"), "pjl-default", 0},
    {"as Samsung's drivers begin", SPAN(UEL "@PJL JOB NAME=\"a\"\n@PJL DEFAULT SERVICEDATE=20261129\n@PJL SET USERNAME=\"a\"\n"), "pjl-default-usual", 0},
    {"as Brother's drivers begin", SPAN(UEL "@PJL\n@PJL SET PAPER = A4\n@PJL DEFAULT AUTOSLEEP = ON\n@PJL DEFAULT TIMEOUTSLEEP = 5\n"
                                        "@PJL SET AUTOSLEEP=ON\n@PJL ENTER LANGUAGE = PCL\n\x1b" "E" UEL), "pjl-default-usual", 0},
    {"defaults, usual and other", SPAN("@PJL DEFAULT AUTOSLEEP=ON\n@PJL DEFAULT SERVICEDATES=1\n"), "pjl-default pjl-default-usual", 0},
    {"firmware by SET", SPAN("@PJL SET UPGRADE=ON\n"), "pjl-upgrade", 0},
    {"firmware by ACL", SPAN("@PJL ENTER LANGUAGE=ACL\n"), "pjl-upgrade", 0},
    {"firmware by another language", SPAN("@PJL ENTER LANGUAGE = FWUPDATE2\n"), "pjl-upgrade", 0},
    {"one language", SPAN(UEL "@PJL ENTER LANGUAGE=PCL\n\x1b" "E" UEL "@PJL ENTER LANGUAGE=pcl\n\x1b" "E" UEL), "", 0},
    {"two languages", SPAN(UEL "@PJL ENTER LANGUAGE=PCL\n\x1b" "E" UEL "@PJL ENTER LANGUAGE=PCLXL\n) HP-PCL XL" UEL), "pjl-language", 0},
    {"two languages, one after the other", SPAN(UEL "@PJL ENTER LANGUAGE=POSTSCRIPT\n@PJL ENTER LANGUAGE=PDF\n(a) deletefile\n"),
     "pjl-language ps-deletefile", 0},
    {"no language", SPAN("@PJL ENTER SHARES\n"), "", 0},
    {"as HP's drivers begin", SPAN(UEL "@PJL SET JOBATTR=\"JobAcct1=a\"\n@PJL DMINFO ASCIIHEX=\"04000401\"\n@PJL SET DUPLEX=ON\n"
                                   "@PJL ENTER LANGUAGE=PCLXL\n) HP-PCL XL;2;0\n" UEL), "pjl-dminfo", 0},
    {"as Foomatic ends", SPAN(UEL "@PJL\n@PJL SET COPIES=1\n@PJL ENTER LANGUAGE=PCL\n\x1b" "E text\x1b" "E" UEL "@PJL RESET\n" UEL),
     "pjl-reset", 0},

    /* -- PostScript: what it is -- */
    {"PostScript", SPAN(PS "(a) deletefile\n"), "ps-deletefile", 0},
    {"the shortest", SPAN("%!(a)\ndeletefile"), "ps-deletefile", 0},
    {"PostScript, behind ^D", SPAN("\4(a) deletefile\n"), "ps-deletefile", 0},
    {"behind ^D and %!", SPAN("\4%!PS\n(a) deletefile\n"), "ps-deletefile", 0},
    {"behind another line", SPAN("some words\r\n%!PS\n(a) deletefile\n"), "ps-deletefile", 0},
    {"%! in the middle of a line", SPAN("some words %!PS\n(a) deletefile\n"), "", 0},
    {"no PostScript", SPAN("(a) deletefile\n"), "", 0},
    {"PostScript, entered by PJL", SPAN(UEL "@PJL ENTER LANGUAGE=POSTSCRIPT\n(a) deletefile\n" UEL), "ps-deletefile", 0},
    {"... in quotes, small letters", SPAN(UEL "@PJL enter language = \"PostScript\"\n(a) deletefile\n" UEL), "ps-deletefile", 0},
    {"... by a short name", SPAN(UEL "@PJL ENTER LANGUAGE=PS\n(a) deletefile\n" UEL), "ps-deletefile", 0},
    {"... by Kyocera's name", SPAN(UEL "@PJL ENTER LANGUAGE=KPDL\n(a) deletefile\n" UEL), "ps-deletefile", 0},
    {"behind PJL, recognised", SPAN(UEL "@PJL\n%!PS\n(a) deletefile\n" UEL), "ps-deletefile", 0},
    {"in another language, which a printer may not know", SPAN(UEL "@PJL ENTER LANGUAGE=PCL\n%!PS\n(a) deletefile\n" UEL), "ps-deletefile", 0},
    {"second document", SPAN(UEL "@PJL ENTER LANGUAGE=PCL\n\x1b" "E" UEL "%!PS\n(a) deletefile\n" UEL), "ps-deletefile", 0},
    {"PDF and PostScript", SPAN("%!PS\n" PDF "1 0 obj << /S /Launch >> endobj\n(a) deletefile\n"), "ps-deletefile pdf-launch", 0},

    /* -- PostScript: names, strings, comments -- */
    {"in a procedure", SPAN(PS "/p{(a)deletefile}def"), "ps-deletefile", 0},
    {"at the end", SPAN(PS "(a) deletefile"), "ps-deletefile", 0},
    {"immediately", SPAN(PS "(a)//deletefile"), "ps-deletefile", 0},
    {"taken hold of by load", SPAN(PS "/d /deletefile load def"), "ps-deletefile", 0},
    {"taken hold of by get", SPAN(PS "systemdict /deletefile get exec"), "ps-deletefile", 0},
    {"taken hold of by a string", SPAN(PS "systemdict (deletefile) get exec"), "ps-deletefile", 0},
    {"made executable", SPAN(PS "/deletefile cvx exec"), "ps-deletefile ps-hidden", 0},
    {"made a name", SPAN(PS "(deletefile) cvn pop"), "ps-deletefile", 0},
    {"asked for", SPAN(PS "systemdict /deletefile known { } if /startjob where { pop } if"), "", 0},
    {"defined anew", SPAN(PS "/deletefile { pop } def /run { } def /file { } def"), "", 0},
    {"a longer name", SPAN(PS "deletefiles mydeletefile delete.file"), "", 0},
    {"another case", SPAN(PS "DeleteFile"), "", 0},
    {"PostScript, in a string", SPAN(PS "(the operator deletefile deletes) show"), "", 0},
    {"in a nested string", SPAN(PS "(a (b) deletefile (c (d)) deletefile) show"), "", 0},
    {"behind a nested string", SPAN(PS "(a (b) c) deletefile"), "ps-deletefile", 0},
    {"behind escaped parentheses", SPAN(PS "(a \\( b) deletefile"), "ps-deletefile", 0},
    {"behind an escaped backslash", SPAN(PS "(a \\\\) deletefile"), "ps-deletefile", 0},
    {"in a string with escapes", SPAN(PS "(a \\) deletefile \\\\\\) deletefile) show"), "", 0},
    {"PostScript, in a comment", SPAN(PS "% (a) deletefile\n%% deletefile\r%deletefile"), "", 0},
    {"behind a comment, LF", SPAN(PS "% a\ndeletefile"), "ps-deletefile", 0},
    {"behind a comment, CR", SPAN(PS "% a\rdeletefile"), "ps-deletefile", 0},
    {"behind a comment, FF", SPAN(PS "% a\fdeletefile"), "ps-deletefile", 0},
    {"before a comment", SPAN(PS "(a) deletefile%deletes"), "ps-deletefile", 0},
    {"a percent sign in a string", SPAN(PS "(100 %) show (a) deletefile"), "ps-deletefile", 0},
    {"a parenthesis in a comment", SPAN(PS "% :-(\n(a) deletefile"), "ps-deletefile", 0},
    {"behind a hexadecimal string", SPAN(PS "<61 62>deletefile"), "ps-deletefile", 0},
    {"behind a broken hexadecimal string", SPAN(PS "<61 deletefile"), "ps-deletefile", 0},
    {"behind dictionary marks", SPAN(PS "<</a(b)>>deletefile"), "ps-deletefile", 0},
    {"in an ASCII85 string", SPAN(PS "<~ deletefile (( ~> pop"), "", 0},
    {"behind an ASCII85 string", SPAN(PS "<~87cURD(((~> (a) deletefile"), "ps-deletefile", 0},
    {"in a broken ASCII85 string", SPAN(PS "<~ (a) deletefile"), "ps-deletefile", 0},
    {"in a string without end", SPAN(PS "( \n(a) deletefile\n"), "ps-deletefile", 0},
    {"in a string in a string without end", SPAN(PS "( (a deletefile b) pop\n"), "ps-deletefile", 0},
    {"a device in a string without end", SPAN(PS "( (%disk0%a) pop\n"), "ps-disk", 0},
    {"behind data of a filter", SPAN(PS "currentfile /ASCII85Decode filter image\n87c((((URD%(\n87~>\n(a) deletefile\n"), "ps-deletefile", 0},
    {"a backslash at the end", SPAN(PS "(a\\"), "", 0},
    {"a slash at the end", SPAN(PS "/"), "", 0},
    {"two slashes at the end", SPAN(PS "//"), "", 0},
    {"an angle at the end", SPAN(PS "<"), "", 0},
    {"two angles at the end", SPAN(PS "<<"), "", 0},
    {"ASCII85 at the end", SPAN(PS "<~"), "", 0},

    /* -- PostScript: data -- */
    {"behind binary data", SPAN(PS "%%BeginBinary: 5\n((%((\n%%EndBinary\n(a) deletefile"), "ps-deletefile", 0},
    {"behind binary data, CR LF", SPAN(PS "%%BeginData: 5 Binary Bytes\r\n((<((\r\n%%EndData\r\n(a) deletefile"), "ps-deletefile", 0},
    {"a string after binary data", SPAN(PS "%%BeginBinary: 5\n((%((\n%%EndBinary\n(deletefile) show"), "", 0},
    {"a string after binary data, CR LF", SPAN(PS "%%BeginBinary: 5\r\n((%((\r\n%%EndBinary\r\n(deletefile) show"), "", 0},
    {"in what is called data", SPAN(PS "%%BeginBinary: 15\n(a) deletefile \n%%EndBinary\n"), "ps-deletefile", 0},
    {"a file in what is called data", SPAN(PS "%%BeginBinary: 12\n(a) (r) file\n%%EndBinary\n"), "ps-file", 0},
    {"data in data", SPAN(PS "%%BeginBinary: 22\n%%BeginBinary: 2\n(((((\n%%EndBinary\n(deletefile) show"), "", 0},
    {"data that ends elsewhere", SPAN(PS "%%BeginBinary: 4\n(a) deletefile \n%%EndBinary\n"), "ps-deletefile", 0},
    {"more data than there is", SPAN(PS "%%BeginBinary: 99999\n(a) deletefile\n"), "ps-deletefile", 0},
    {"data without a number", SPAN(PS "%%BeginBinary: many\n(a) deletefile\n"), "ps-deletefile", 0},
    {"data by lines", SPAN(PS "%%BeginData: 1 Hex Lines\n616263\n%%EndData\n(a) deletefile\n"), "ps-deletefile", 0},

    /* -- PostScript: files -- */
    {"renamefile", SPAN(PS "(a) (b) renamefile"), "ps-renamefile", 0},
    {"filenameforall", SPAN(PS "(*) {==} 99 string filenameforall"), "ps-filenameforall", 0},
    {"a file by name", SPAN(PS "(/etc/passwd) (r) file"), "ps-file", 0},
    {"a file by a hexadecimal name", SPAN(PS "<2f65> (r) file"), "ps-file", 0},
    {"a file of the job itself", SPAN(PS "(%stdout) (w) file (%stderr)(w)file (%lineedit)(r)file (%statementedit)(r)file"), "", 0},
    {"a file by a name that is not seen", SPAN(PS "name (r) file (a) mode file"), "ps-file-unseen", 0},
    {"a file by a name in ASCII85", SPAN(PS "<~87cURD~> (r) file"), "ps-file-unseen", 0},
    {"a file by a name in ASCII85, behind a string", SPAN(PS "(a) <~87cURD~> (r) file"), "ps-file-unseen", 0},
    {"the operator file, taken hold of", SPAN(PS "/f /file load def"), "ps-file-unseen", 0},
    {"the file of the job", SPAN(PS "currentfile /ASCIIHexDecode filter 4 string readstring"), "", 0},
    {"run", SPAN(PS "(a.ps) run"), "ps-run", 0},
    {"run, of the job itself", SPAN(PS "currentfile run (%stdin) run"), "", 0},
    {"run, not seen what", SPAN(PS "name run"), "ps-run-unseen", 0},
    {"the operator run, taken hold of", SPAN(PS "systemdict /run get"), "ps-run-unseen", 0},
    {"a disk", SPAN(PS "(%disk0%a) devstatus"), "ps-disk", 0},
    {"a disk, written in another way", SPAN(PS "(\\045d\\151sk1%) pop"), "ps-disk", 0},
    {"a disk over two lines", SPAN(PS "(%di\\\nsk0%) pop (%di\\\r\nsk0%) pop"), "ps-disk", 0},
    {"a disk in hexadecimal", SPAN(PS "<25 64 69 73 6B 30 25> pop"), "ps-disk", 0},
    {"memory of the device, written in another way", SPAN(PS "(%ra\\1550%) pop"), "ps-disk", 0},
    {"memory of the device", SPAN(PS "(%ram0%) pop"), "ps-disk", 0},
    {"a disk in words", SPAN(PS "(the %disk0% is full) show"), "", 0},
    {"formatting", SPAN(PS "(%x%) 0 1 devformat"), "ps-disk", 0},
    {"a command of the host, in hexadecimal", SPAN(PS "<257069706525 6964> pop"), "ps-pipe", 0},
    {"a command of the host", SPAN(PS "(%pipe%id) (r) file"), "ps-file ps-pipe", 0},

    /* -- PostScript: what lasts -- */
    {"startjob", SPAN(PS "true (0) startjob"), "ps-startjob", 0},
    {"exitserver", SPAN(PS "serverdict begin 0 exitserver"), "ps-exitserver", 0},
    {"system parameters", SPAN(PS "<< /WaitTimeout 0 >> setsystemparams"), "ps-setsystemparams", 0},
    {"parameters of a device", SPAN(PS "(%Serial%) << >> setdevparams"), "ps-setdevparams", 0},
    {"parameters of the job", SPAN(PS "<< /MaxFormItem 1 >> setuserparams << /Duplex true >> setpagedevice"), "", 0},
    {"password", SPAN(PS "statusdict begin 0 1 setpassword end"), "ps-password", 0},
    {"trying passwords", SPAN(PS "statusdict begin 0 checkpassword end"), "ps-password", 0},
    {"the name of the printer", SPAN(PS "statusdict begin (x) setprintername end"), "ps-statusdict", 0},
    {"default timeouts", SPAN(PS "statusdict begin 0 0 0 setdefaulttimeouts end"), "ps-statusdict", 0},
    {"a timeout of the job", SPAN(PS "statusdict begin 0 setjobtimeout true setduplexmode 1 setpapertray end"), "", 0},
    {"quit", SPAN(PS "showpage quit"), "ps-quit", 0},

    /* -- PostScript: what cannot be seen -- */
    {"text that is executed", SPAN(PS "(1 2 add) cvx exec"), "ps-hidden", 0},
    {"a filter that is executed", SPAN(PS "currentfile /LZWDecode filter cvx exec"), "ps-hidden", 0},
    {"a procedure that is executed", SPAN(PS "{ 1 2 add } cvx exec { 3 } exec"), "", 0},
    {"as PPD files set options", SPAN(PS "(<<)cvx exec /Duplex true (>>)cvx exec setpagedevice"), "", 0},
    {"a name that was made", SPAN(PS "(dele) (tefile) concat cvn load exec"), "ps-hidden", 0},
    {"an operator by a name that was made", SPAN(PS "systemdict exch get"), "ps-hidden", 0},
    {"an operator by name", SPAN(PS "systemdict /languagelevel get 2 ge"), "", 0},
    {"an array", SPAN(PS "systemdict begin 1 2 3 4 a 1 get"), "", 0},

    /* -- PostScript: through UEL -- */
    {"UEL in a string", SPAN(PS "(" UEL "\n) pop (a) deletefile\n"), "ps-deletefile", 0},
    {"UEL in a string, and PJL behind it", SPAN(PS "(" UEL "@PJL COMMENT ) pop (a) deletefile\n" UEL), "ps-deletefile", 0},
    {"UEL in code", SPAN(PS "(\033) cvn { } def " UEL "\n(a) deletefile\n"), "ps-deletefile", 0},
    {"UEL between documents", SPAN(UEL "@PJL ENTER LANGUAGE=POSTSCRIPT\n" PS "%%Pages: 2\n(" UEL
                                   "@PJL ENTER LANGUAGE=POSTSCRIPT\n" PS "%%Pages: 3\n(a) deletefile\n" UEL), "ps-deletefile", 5},

    /* -- PostScript: pages -- */
    {"PostScript, pages", SPAN(PS "%%Pages: 12\n%%EndComments\nshowpage\n"), "", 12},
    {"pages and their order", SPAN(PS "%%Pages: 12 1\r\nshowpage\r\n"), "", 12},
    {"pages, at the end", SPAN(PS "%%Pages: (atend)\n%%Page: 1 1\nshowpage\n%%Trailer\n%%Pages: 7\n"), "", 7},
    {"pages that are there", SPAN(PS "%%Pages: 1\n%%Page: 1 1\n%%Page: 2 2\n%%Page: (iii) 3\n"), "", 3},
    {"no comments about pages", SPAN(PS "showpage\n"), "", 0},
    {"not at the front of a line", SPAN(PS " %%Pages: 9\n(\n%%Page: 1 1\n) pop\n"), "", 0},
    {"a picture inside", SPAN(PS "%%Page: 1 1\n%%BeginDocument: a.eps\n%!PS\n%%Pages: 9\n%%Page: 1 1\n%%EndDocument\n%%Page: 2 2\n"), "", 2},
    {"an end without a beginning", SPAN(PS "%%EndDocument\n%%Page: 1 1\n"), "", 1},
    {"more pages than fit", SPAN(PS "%%Pages: 99999999999\n%%Page: 1 1\n"), "", 1},

    /* -- PDF: names -- */
    {"PDF", SPAN(PDF "1 0 obj << /Type /Catalog /Pages 2 0 R >> endobj\n" TREE "trailer << /Root 1 0 R >>\n"), "", 1},
    {"JavaScript", SPAN(PDF "1 0 obj << /S /JavaScript /JS (app.alert\\(1\\)) >> endobj"), "pdf-javascript", 0},
    {"JavaScript, the name alone", SPAN(PDF "1 0 obj << /Names << /JavaScript 5 0 R >> >> endobj"), "pdf-javascript", 0},
    {"JS alone", SPAN(PDF "1 0 obj<</S/Rendition/JS 5 0 R>>endobj"), "pdf-javascript", 0},
    {"launch", SPAN(PDF "1 0 obj<</S/Launch/F(a.exe)>>endobj"), "pdf-launch", 0},
    {"hidden names", SPAN(PDF "1 0 obj<</S/#4caunc#68/J#53 (x)>>endobj"), "pdf-javascript pdf-launch", 0},
    {"all of a name hidden", SPAN(PDF "1 0 obj<</#4A#61#76#61#53#63#72#69#70#74 5 0 R>>endobj"), "pdf-javascript", 0},
    {"no hexadecimal digits", SPAN(PDF "1 0 obj<</S/#4gaunch/Launch#>>endobj /Launch#2"), "", 0},
    {"a name that is long", SPAN(PDF "1 0 obj<</JavaScriptJavaScriptJavaScriptJavaScript/#4aavaScript#20#20#20#20#20#20#20#20 1>>endobj"), "", 0},
    {"longer and shorter names", SPAN(PDF "1 0 obj<</Launched/JavaScripts/J/JSON/launch>>endobj"), "", 0},
    {"files inside", SPAN(PDF "1 0 obj<</Type/EmbeddedFile>>stream\n\nendstream endobj"), "pdf-embedded-file", 0},
    {"files inside, their list", SPAN(PDF "1 0 obj<</Names<</EmbeddedFiles 5 0 R>>>>endobj"), "pdf-embedded-file", 0},
    {"what happens when it is opened", SPAN(PDF "1 0 obj<</OpenAction[3 0 R/Fit]>>endobj"), "pdf-open-action", 0},
    {"deep inside", SPAN(PDF "1 0 obj " DEEP "/S /Launch >>"), "pdf-launch", 0},

    /* -- PDF: strings, comments, streams, and what begins in them -- */
    {"PDF, in a string", SPAN(PDF "1 0 obj (write /S /Launch (or /JS)) endobj"), "", 0},
    {"PDF, in a nested string", SPAN(PDF "1 0 obj (write (or /JS) /S /Launch) endobj"), "", 0},
    {"behind a string with escapes", SPAN(PDF "1 0 obj<</A(\\)\\\\)/S/Launch>>"), "pdf-launch", 0},
    {"PDF, in a comment", SPAN(PDF "1 0 obj % /S /Launch\n<< >> endobj"), "", 0},
    {"in a stream", SPAN(PDF "1 0 obj<</Length 9>>stream\n/S/Launch\nendstream endobj"), "", 0},
    {"behind a stream", SPAN(PDF "1 0 obj<<>>stream\nx\nendstream endobj 2 0 obj<</S/Launch>>endobj"), "pdf-launch", 0},
    {"behind a stream without end", SPAN(PDF "1 0 obj<<>>stream\nx\nendobj 2 0 obj<</S/Launch>>endobj"), "pdf-launch", 0},
    {"an object in a stream", SPAN(PDF "1 0 obj<<>>stream\nx 5 0 obj<</S/Launch>>endobj endstream endobj"), "pdf-launch", 0},
    {"an object in a string", SPAN(PDF "1 0 obj (x 5 0 obj<</S/Launch>>endobj) endobj"), "pdf-launch", 0},
    {"an object in a comment", SPAN(PDF "% 5 0 obj<</S/Launch>>endobj\n"), "pdf-launch", 0},
    {"an object in a string without end", SPAN(PDF "(\n5\r\n0\tobj<</S/Launch>>endobj"), "pdf-launch", 0},
    {"no object in a string", SPAN(PDF "(an obj /Launch; 0 obj /Launch; 1 objx /Launch; 5 0obj /Launch)"), "", 0},
    {"in a hexadecimal string", SPAN(PDF "1 0 obj<</A<2f4a53>/S/Launch>>"), "pdf-launch", 0},

    /* -- PDF: encryption -- */
    {"encrypted", SPAN(PDF TREE "trailer\n<< /Size 9 /Root 1 0 R /Encrypt 5 0 R >>\nstartxref"), "pdf-encrypted", 1},
    {"encrypted, all in the trailer", SPAN(PDF "trailer<</Encrypt<</Filter/Standard/V 1>>/Size 9>>"), "pdf-encrypted", 0},
    {"encrypted, behind a string", SPAN(PDF "trailer<</ID(x)/Encrypt 5 0 R>>"), "pdf-encrypted", 0},
    {"encrypted, behind a hexadecimal string", SPAN(PDF "trailer<</ID<01>/Encrypt 5 0 R>>"), "pdf-encrypted", 0},
    {"encrypted, behind a word", SPAN(PDF "trailer<</X true/Encrypt 5 0 R>>"), "pdf-encrypted", 0},
    {"encrypted, behind another dictionary", SPAN(PDF "trailer<</Info<</X 1>>/Encrypt 5 0 R>>"), "pdf-encrypted", 0},
    {"encrypted, behind an array that does not begin", SPAN(PDF "trailer<<]/Encrypt 5 0 R>>"), "pdf-encrypted", 0},
    {"encrypted, behind dictionaries without end", SPAN(PDF DEEP "trailer<</Encrypt 5 0 R>>"), "pdf-encrypted", 0},
    {"encrypted, a hidden name", SPAN(PDF "trailer<</#45ncrypt 5 0 R>>"), "pdf-encrypted", 0},
    {"encrypted, by a stream", SPAN(PDF "7 0 obj<</Type/XRef/Encrypt 5 0 R/W[1 2 1]>>stream\nx\nendstream"), "pdf-encrypted", 0},
    {"encrypted, no type, but a root", SPAN(PDF "7 0 obj<</Encrypt 5 0 R/Root 1 0 R>>stream\nx\nendstream"), "pdf-encrypted", 0},
    {"encrypted, the trailer has no end", SPAN(PDF "trailer<</Encrypt 5 0 R"), "pdf-encrypted", 0},
    {"encrypted, the trailer is in a string", SPAN(PDF "1 0 obj (x trailer << /Encrypt 5 0 R >> ) endobj"), "pdf-encrypted", 0},
    {"encrypted, the trailer is in a stream", SPAN(PDF "1 0 obj<<>>stream\ntrailer<</Encrypt 5 0 R>>\nendstream"), "pdf-encrypted", 0},
    {"encrypted with nothing", SPAN(PDF "trailer<</Encrypt null/Root 1 0 R>>"), "", 0},
    {"the word as a value", SPAN(PDF "trailer<</A/Encrypt/B[/Encrypt]/Root 1 0 R>>"), "", 0},
    {"the word in another dictionary", SPAN(PDF "1 0 obj<</Encrypt 5 0 R>>endobj trailer<</Root 1 0 R>>"), "", 0},
    {"the word deeper in the trailer", SPAN(PDF "trailer<</Root 1 0 R/Info<</Encrypt 1>>>>"), "", 0},
    {"a trailer in words", SPAN(PDF "1 0 obj (the trailer) <</Encrypt 1>> endobj"), "", 0},

    /* -- PDF: pages -- */
    {"PDF, pages", SPAN(PDF "2 0 obj<</Count 12/Kids[3 0 R]/Type/Pages>>endobj 3 0 obj<</Type/Pages/Count 5>>endobj"), "", 12},
    {"pages of an outline", SPAN(PDF "2 0 obj<</Type/Outlines/Count 99>>endobj 3 0 obj<</Count 99>>endobj"), "", 0},
    {"pages one by one", SPAN(PDF "3 0 obj<</Type/Page/Parent 2 0 R>>endobj 4 0 obj<</Parent 2 0 R/Type /Page>>endobj"), "", 2},
    {"pages behind dictionaries without end", SPAN(PDF DEEP "3 0 obj<</Type/Page>>endobj"), "", 1},
    {"pages by reference", SPAN(PDF "2 0 obj<</Type/Pages/Count 12 0 R>>endobj 3 0 obj<</Type/Page>>endobj"), "", 1},
    {"less than no pages", SPAN(PDF "2 0 obj<</Type/Pages/Count -1>>endobj 3 0 obj<</Type/Page>>endobj"), "", 1},
    {"too many pages", SPAN(PDF "2 0 obj<</Type/Pages/Count 99999999999>>endobj"), "", UINT32_MAX},
    {"pages in compressed objects", SPAN(PDF "1 0 obj<</Type/ObjStm/N 3>>stream\nx\nendstream endobj"), "", 0},

    /* -- PDF: what it is -- */
    {"behind other bytes", SPAN("other bytes\n" PDF "1 0 obj<</S/Launch>>endobj"), "pdf-launch", 0},
    {"behind PJL", SPAN(UEL "@PJL SET COPIES=1\n@PJL ENTER LANGUAGE=PDF\n" PDF TREE "1 0 obj<</S/Launch>>endobj" UEL), "pdf-launch", 1},
    {"PDF, entered by PJL", SPAN(UEL "@PJL ENTER LANGUAGE=PDF\n1 0 obj<</S/Launch>>endobj" UEL), "pdf-launch", 0},
    {"no PDF", SPAN("1 0 obj<</S/Launch>>endobj"), "", 0},
    {"UEL in a string of a PDF", SPAN(PDF TREE "1 0 obj (" UEL ") 2 0 obj <</S/Launch>>endobj"), "pdf-launch", 0},

    /* -- pictures -- */
    {"JPEG", SPAN("\xff\xd8\xff\xe0\0\x10JFIF\0"), "", 1},
    {"PNG", SPAN("\x89PNG\r\n\x1a\n\0\0\0\rIHDR"), "", 1},
    {"JPEG behind PJL", SPAN(UEL "@PJL SET COPIES=1\n\xff\xd8\xff\xe0" UEL), "", 1},
    {"Apple raster", SPAN("UNIRAST\0\0\0\1\2\x18"), "", 258},
    {"Apple raster, too short", SPAN("UNIRAST\0\0\0\1"), "", 0},
    {"Apple raster, not known", SPAN("UNIRAST\0\xff\xff\xff\xff"), "", 0},
    {"two pictures", SPAN("\xff\xd8\xff\xe0" UEL "\x89PNG\r\n\x1a\n" UEL), "", 2},
    {"a picture, and nobody knows", SPAN("\xff\xd8\xff\xe0" UEL "\x1b" "E text"), "", 0},
};
/* clang-format on */

#endif
