/* SPDX-License-Identifier: Apache-2.0 */
/* sallyport.yar - the rules that Sallyport brings along: the test file, and a few things that no mail
 * or upload should hold whoever wrote them. They are no replacement for an antivirus engine.
 *
 * What rules can see are the raw bytes of one file. What is packed inside it (members of an archive,
 * compressed streams of a PDF, the compressed source of a macro) they see only where the format left
 * it readable; each rule says what that means for it.
 *
 * meta:  threat     the finding's name
 *        action     "block" (default), or "note": recorded, does not block by itself
 *        reference  what the rule is built on
 * Variables: filename, extension (".pdf", small letters) and declared_type, as the client gave them;
 * each may be empty. */

/* ---- the test file ---------------------------------------------------------------------------- */

/* In hexadecimal, so that this file is not taken for the test file by another scanner. */
rule EICAR_Test_File
{
    meta:
        threat = "EICAR-Test-File"
        description = "the antivirus test file: its 68 bytes, then white space only, 128 bytes at most"
        reference = "https://www.eicar.org/download-anti-malware-testfile/"
    strings:
        $eicar = {
            58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43
            29 37 7D 24 45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56
            49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48 2A
        }
    condition:
        filesize <= 128 and $eicar at 0 and
        (filesize == 68 or
         for all i in (68 .. filesize - 1) :
            (uint8(i) == 0x20 or uint8(i) == 0x09 or uint8(i) == 0x0a or uint8(i) == 0x0d or uint8(i) == 0x1a))
}

/* A test of a chain (upload form, archive, document) puts the string into a container. In an archive
 * it is visible when its member is stored; compressors usually do store it, since it does not become
 * smaller. */
rule EICAR_In_Container
{
    meta:
        threat = "EICAR-Test-File.Contained"
        description = "the antivirus test string in an archive, a document, or a part of a multipart body"
        reference = "https://www.eicar.org/download-anti-malware-testfile/"
    strings:
        $eicar = {
            58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43
            29 37 7D 24 45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56
            49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48 2A
        }
        $part = { 0D 0A 0D 0A 58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43 29 37 7D 24 45 49 43 41 52 2D }
    condition:
        $eicar and
        (uint32(0) == 0x04034b50 or                                 /* zip, OOXML, ODF, jar */
         uint32(0) == 0xe011cfd0 or                                 /* OLE2 */
         uint32(0) == 0x21726152 or                                 /* rar */
         uint32be(0) == 0x377abcaf or                               /* 7z */
         uint32be(0) == 0x25504446 or                               /* PDF */
         uint32be(257) == 0x75737461 or                             /* tar */
         ((uint16be(0) == 0x2d2d or declared_type istartswith "multipart/") and $part))
}

rule EICAR_Mentioned
{
    meta:
        threat = "EICAR-Test-String"
        description = "the antivirus test string somewhere in a file that is not the test file, as in a text about it"
        reference = "https://www.eicar.org/download-anti-malware-testfile/"
        action = "note"
    strings:
        $eicar = {
            58 35 4F 21 50 25 40 41 50 5B 34 5C 50 5A 58 35 34 28 50 5E 29 37 43 43
            29 37 7D 24 45 49 43 41 52 2D 53 54 41 4E 44 41 52 44 2D 41 4E 54 49 56
            49 52 55 53 2D 54 45 53 54 2D 46 49 4C 45 21 24 48 2B 48 2A
        }
    condition:
        $eicar and not EICAR_Test_File and not EICAR_In_Container
}

/* ---- executables in disguise ------------------------------------------------------------------ */

/* What the file claims to be. The extension decides where it says anything; then the declared type,
 * but for text, which is what servers and upload scripts say of everything that they do not know. */
private rule named_program
{
    condition:
        extension matches /^\.(exe|dll|sys|scr|com|pif|cpl|msi|ocx|drv|efi|mui|ax|so|o|a|ko|bin|run|elf|out|dylib|bundle|appimage|class|jar)$/
}

private rule named_text
{
    condition:
        extension matches /^\.(txt|csv|html?|xml|svg|md|log)$/
}

private rule named_document
{
    condition:
        extension matches /^\.(pdf|docx?|dotx?|xlsx?|xltx?|pptx?|ppsx?|rtf|odt|ods|odp|jpe?g|png|gif|bmp|tiff?|webp|ico|heic|mp3|mp4|wav|avi|mov|mkv|ogg|flac|eml|epub)$/
        or (not named_program and not named_text and
            declared_type matches /^(image|audio|video|font)\/|^application\/(pdf|rtf|msword|vnd\.openxmlformats|vnd\.oasis|vnd\.ms-(excel|powerpoint|word|outlook))/i)
}

private rule is_pe
{
    condition:
        uint16(0) == 0x5a4d and filesize > 64 and
        (uint32(uint32(0x3c)) == 0x00004550 or uint16(uint32(0x3c)) == 0x454e)
}

private rule is_unix_binary
{
    condition:
        uint32be(0) == 0x7f454c46 or                                /* ELF */
        uint32be(0) == 0xfeedface or uint32be(0) == 0xfeedfacf or   /* Mach-O */
        uint32be(0) == 0xcefaedfe or uint32be(0) == 0xcffaedfe or
        (uint32be(0) == 0xcafebabe and uint32be(4) > 0)             /* universal, and Java classes */
}

rule Executable_Disguised
{
    meta:
        threat = "Executable.Disguised"
        description = "a Windows, Linux or macOS program whose name says document, picture, sound or text, or whose declared type says one of the first three"
        reference = "MITRE ATT&CK T1036.008, Masquerade File Type"
    condition:
        (is_pe or is_unix_binary) and (named_document or named_text)
}

rule Executable_As_Text
{
    meta:
        threat = "Executable.AsText"
        description = "a program that is declared as text, by a name that says neither"
        reference = "MITRE ATT&CK T1036.008, Masquerade File Type"
        action = "note"
    condition:
        (is_pe or is_unix_binary) and declared_type istartswith "text/" and
        not named_program and not Executable_Disguised
}

/* U+202E turns "annexe" + "gpj.exe" into something that reads as a picture; "invoice.pdf   .exe"
 * hides its end in a narrow column. */
rule Executable_Deceptive_Name
{
    meta:
        threat = "Executable.DeceptiveName"
        description = "a Windows program whose name is built to be read as something else"
        reference = "MITRE ATT&CK T1036.002, Right-to-Left Override; T1036.007, Double File Extension"
    condition:
        is_pe and
        (filename contains "\xe2\x80\xae" or
         filename matches /\.(pdf|docx?|xlsx?|pptx?|rtf|txt|jpe?g|png|gif|mp3|mp4)[ _]*\.(exe|scr|com|pif|cpl)$/i)
}

private rule has_interpreter_line
{
    condition:
        uint16be(0) == 0x2321 and (uint8(2) == 0x2f or (uint8(2) == 0x20 and uint8(3) == 0x2f))
}

/* Scripts are text, and people do send them as .txt: that is a note only. */
rule Script_Disguised
{
    meta:
        threat = "Script.Disguised"
        description = "a script with an interpreter line, whose name or declared type says picture, sound or office document"
        reference = "MITRE ATT&CK T1036.008, Masquerade File Type"
    condition:
        has_interpreter_line and named_document
}

rule Script_As_Text
{
    meta:
        threat = "Script.AsText"
        description = "a script with an interpreter line that is named as text"
        reference = "execve(2), interpreter scripts"
        action = "note"
    condition:
        has_interpreter_line and named_text
}

/* ---- office macros ---------------------------------------------------------------------------- */

/* A macro's source is compressed ([MS-OVBA] 2.4.1). What is readable is the table of identifiers and
 * the p-code that Office keeps beside it (stream _VBA_PROJECT and the modules' performance caches):
 * there the names of procedures and the text constants stand in one piece. A document whose maker
 * removed those (some generators do) shows less than these rules need. In OOXML vbaProject.bin is
 * usually deflated; only its presence shows then, in the archive's directory. */
private rule has_vba_project
{
    strings:
        $project = "_VBA_PROJECT" wide
    condition:
        (uint32(0) == 0xe011cfd0 or uint32(0) == 0x04034b50) and $project
}

private rule vba_starts_itself
{
    strings:
        $word1 = "AutoOpen" fullword nocase
        $word2 = "AutoClose" fullword nocase
        $word3 = "AutoExec" fullword nocase
        $word4 = "Document_Open" nocase
        $word5 = "Document_Close" nocase
        $word6 = "DocumentOpen" fullword nocase
        $excel1 = "Auto_Open" fullword nocase
        $excel2 = "Auto_Close" fullword nocase
        $excel3 = "Workbook_Open" nocase
        $excel4 = "Workbook_Activate" nocase
        $excel5 = "Workbook_BeforeClose" nocase
    condition:
        has_vba_project and any of them
}

rule Office_Macro_Starts_Programs
{
    meta:
        threat = "Office.AutoMacro.Program"
        description = "a document with a macro that runs when it is opened or closed, and that names means to start or fetch programs"
        reference = "[MS-OVBA]; MITRE ATT&CK T1137, T1204.002"
    strings:
        $a1 = "WScript.Shell" nocase
        $a2 = "Shell.Application" nocase
        $a3 = "URLDownloadToFile" nocase
        $a4 = "MSXML2.XMLHTTP" nocase
        $a5 = "MSXML2.ServerXMLHTTP" nocase
        $a6 = "WinHttp.WinHttpRequest" nocase
        $a7 = "Microsoft.XMLHTTP" nocase
        $a8 = "ADODB.Stream" nocase
        $a9 = "powershell" nocase
        $a10 = "winmgmts:" nocase
        $a11 = "Win32_Process" nocase
        $a12 = "ShellExecute" nocase
        $a13 = "VirtualAlloc" fullword
        $a14 = "CreateThread" fullword
        $a15 = "RtlMoveMemory" fullword
        $a16 = "cmd.exe" nocase
        $a17 = "mshta" fullword nocase
        $a18 = "regsvr32" nocase
        $a19 = "certutil" nocase
    condition:
        vba_starts_itself and any of them
}

rule Office_Macro_Starts_Itself
{
    meta:
        threat = "Office.AutoMacro"
        description = "a document with a macro that runs when it is opened or closed"
        reference = "[MS-OVBA]; MITRE ATT&CK T1137"
        action = "note"
    condition:
        vba_starts_itself and not Office_Macro_Starts_Programs
}

private rule has_ooxml_macro
{
    strings:
        $word = "word/vbaProject.bin" nocase
        $excel = "xl/vbaProject.bin" nocase
        $powerpoint = "ppt/vbaProject.bin" nocase
    condition:
        uint32(0) == 0x04034b50 and any of them
}

rule Office_Macro_In_Macro_Free_Type
{
    meta:
        threat = "Office.HiddenMacro"
        description = "a macro in a file whose extension or declared type promises that there is none (docx, xlsx, pptx)"
        reference = "ECMA-376; Office writes macros to docm, xlsm, pptm"
    condition:
        has_ooxml_macro and
        (extension matches /^\.(docx|dotx|xlsx|xltx|pptx|potx|ppsx)$/ or
         (extension == "" and declared_type istartswith "application/vnd.openxmlformats-officedocument."))
}

rule Office_Macro
{
    meta:
        threat = "Office.Macro"
        description = "an Office document with macros"
        reference = "[MS-OVBA]; ECMA-376"
        action = "note"
    condition:
        (has_ooxml_macro or has_vba_project) and
        not Office_Macro_In_Macro_Free_Type and
        not Office_Macro_Starts_Itself and not Office_Macro_Starts_Programs
}

/* ---- PDF -------------------------------------------------------------------------------------- */

/* Objects inside compressed object streams do not show. Names may be written with any letter as #xx
 * (ISO 32000-1, 7.3.5), which only those who hide something do: PDF_Hidden_Names. A page that prints
 * the word /JavaScript has it in a text string or a compressed stream, not behind the keys of an
 * action dictionary. */
private rule is_pdf
{
    strings:
        $pdf = "%PDF-"
    condition:
        $pdf in (0 .. 1020)
}

rule PDF_Launch
{
    meta:
        threat = "PDF.Launch"
        description = "a PDF with an action that starts a program"
        reference = "ISO 32000-1, 12.6.4.5"
    strings:
        $launch = /\/S[\x00\t\n\x0c\r ]*\/Launch[\x00\t\n\x0c\r \/<>(\[]/
    condition:
        is_pdf and $launch
}

private rule pdf_has_javascript
{
    strings:
        $action = /\/S[\x00\t\n\x0c\r ]*\/JavaScript[\x00\t\n\x0c\r \/<>(\[]/
        $code = /\/JS[\x00\t\n\x0c\r ]*[(<0-9]/
    condition:
        is_pdf and any of them
}

rule PDF_JavaScript_On_Open
{
    meta:
        threat = "PDF.AutoJavaScript"
        description = "a PDF with JavaScript that an action runs when the document is opened"
        reference = "ISO 32000-1, 7.7.2 (OpenAction) and 12.6.4.16"
    strings:
        /* the dictionary itself, or a reference to it; an array is a destination, and harmless */
        $inline = /\/OpenAction[\x00\t\n\x0c\r ]*<<[^>]{0,200}\/J(avaScript|S)/
        $reference = /\/OpenAction[\x00\t\n\x0c\r ]+[0-9]{1,10}[\x00\t\n\x0c\r ]+[0-9]{1,5}[\x00\t\n\x0c\r ]+R/
        $action = /\/S[\x00\t\n\x0c\r ]*\/JavaScript[\x00\t\n\x0c\r \/<>(\[]/
    condition:
        pdf_has_javascript and ($inline or ($reference and $action))
}

/* Forms check dates and sums with additional actions: common and honest. */
rule PDF_JavaScript_Additional_Action
{
    meta:
        threat = "PDF.JavaScript"
        description = "a PDF with JavaScript that runs on events of a page or of a form's field, or by a click"
        reference = "ISO 32000-1, 12.6.3"
        action = "note"
    condition:
        pdf_has_javascript and not PDF_JavaScript_On_Open
}

rule PDF_Hidden_Names
{
    meta:
        threat = "PDF.HiddenNames"
        description = "a PDF that spells the names of actions in hexadecimal to hide them"
        reference = "ISO 32000-1, 7.3.5"
    strings:
        /* JavaScript, Launch, OpenAction: the first letter that is escaped, and the two after it */
        $j0 = /\/#4[Aa](a|#61)(v|#76)/
        $j1 = /\/J#61(v|#76)(a|#61)/
        $j2 = /\/Ja#76(a|#61)(S|#53)/
        $j3 = /\/Jav#61(S|#53)(c|#63)/
        $j4 = /\/Java#53(c|#63)(r|#72)/
        $j5 = /\/JavaS#63(r|#72)(i|#69)/
        $j6 = /\/JavaSc#72(i|#69)(p|#70)/
        $j7 = /\/JavaScr#69(p|#70)(t|#74)/
        $j8 = /\/JavaScri#70(t|#74)/
        $j9 = /\/JavaScrip#74/
        $l0 = /\/#4[Cc](a|#61)(u|#75)/
        $l1 = /\/L#61(u|#75)(n|#6[Ee])/
        $l2 = /\/La#75(n|#6[Ee])(c|#63)/
        $l3 = /\/Lau#6[Ee](c|#63)(h|#68)/
        $l4 = /\/Laun#63(h|#68)/
        $l5 = /\/Launc#68/
        $o0 = /\/#4[Ff](p|#70)(e|#65)/
        $o1 = /\/O#70(e|#65)(n|#6[Ee])/
        $o2 = /\/Op#65(n|#6[Ee])(A|#41)/
        $o3 = /\/Ope#6[Ee](A|#41)(c|#63)/
        $o4 = /\/Open#41(c|#63)(t|#74)/
        $o5 = /\/OpenA#63(t|#74)(i|#69)/
        $o6 = /\/OpenAc#74(i|#69)(o|#6[Ff])/
        $o7 = /\/OpenAct#69(o|#6[Ff])(n|#6[Ee])/
        $o8 = /\/OpenActi#6[Ff](n|#6[Ee])/
        $o9 = /\/OpenActio#6[Ee]/
        $js = /\/(#4[Aa]S|J#53|#4[Aa]#53)[\x00\t\n\x0c\r ]*[(<0-9]/
        $aa = /\/(#41A|A#41|#41#41)[\x00\t\n\x0c\r ]*(<<|[0-9])/
    condition:
        is_pdf and any of them
}
