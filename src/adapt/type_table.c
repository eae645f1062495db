/* SPDX-License-Identifier: Apache-2.0 */
#include "adapt/type_table.h"

#include "adapt/rules.h"

#define OOXML  "application/vnd.openxmlformats-officedocument."
#define ODF    "application/vnd.oasis.opendocument."
#define WORD   "application/vnd.ms-word."
#define EXCEL  "application/vnd.ms-excel."
#define POWER  "application/vnd.ms-powerpoint."
#define MACROS ".macroenabled.12"

/* Names as IANA has them where it has any; among the aliases are those of libmagic and of old
 * browsers. */
/* clang-format off */
static const struct type_row rows[] = {
    {"text/plain", TYPE_TEXT, ".txt .text .log .ini .conf .cfg .md", "", TYPE_BARE},
    {"text/csv", TYPE_TEXT, ".csv .tsv", "text/tab-separated-values application/csv", TYPE_BARE},
    {"text/css", TYPE_TEXT, ".css", "", TYPE_BARE},
    {"text/calendar", TYPE_TEXT, ".ics", "", TYPE_BARE},
    {"text/vcard", TYPE_TEXT, ".vcf", "text/x-vcard", TYPE_BARE},
    {"application/json", TYPE_TEXT, ".json .map", "application/ld+json text/json", TYPE_BARE},
    {"application/xml", TYPE_TEXT, ".xml .xsd", "text/xml", TYPE_BARE},
    {"application/yaml", TYPE_TEXT, ".yaml .yml", "application/x-yaml text/yaml", TYPE_BARE},
    {"application/sql", TYPE_TEXT, ".sql", "text/x-sql", TYPE_BARE},
    {"application/x-www-form-urlencoded", TYPE_TEXT, "", "", TYPE_BARE},

    {"font/woff", TYPE_FONT, ".woff", "application/font-woff application/x-font-woff", TYPE_BARE},
    {"font/woff2", TYPE_FONT, ".woff2", "application/font-woff2", TYPE_BARE},
    {"font/ttf", TYPE_FONT, ".ttf", "font/sfnt application/x-font-ttf application/font-sfnt",
     TYPE_BARE},
    {"font/otf", TYPE_FONT, ".otf", "application/vnd.ms-opentype application/x-font-otf",
     TYPE_BARE},
    {"application/vnd.ms-fontobject", TYPE_FONT, ".eot", "", TYPE_BARE},

    {"image/jpeg", TYPE_IMAGE, ".jpg .jpeg .jpe .jfif", "image/jpg image/pjpeg", TYPE_BARE},
    {"image/png", TYPE_IMAGE, ".png", "image/x-png", TYPE_BARE},
    {"image/gif", TYPE_IMAGE, ".gif", "", TYPE_BARE},
    {"image/webp", TYPE_IMAGE, ".webp", "", TYPE_BARE},
    {"image/bmp", TYPE_IMAGE, ".bmp .dib", "image/x-ms-bmp", TYPE_BARE},
    {"image/tiff", TYPE_IMAGE, ".tif .tiff", "", TYPE_BARE},
    {"image/vnd.microsoft.icon", TYPE_IMAGE, ".ico .cur", "image/x-icon", TYPE_BARE},
    {"image/heic", TYPE_IMAGE, ".heic .heif", "image/heif", TYPE_BARE},
    {"image/avif", TYPE_IMAGE, ".avif", "", TYPE_BARE},

    {"audio/mpeg", TYPE_AUDIO, ".mp3", "audio/mp3", TYPE_BARE},
    {"audio/mp4", TYPE_AUDIO, ".m4a .aac", "audio/aac audio/x-m4a", TYPE_BARE},
    {"audio/ogg", TYPE_AUDIO, ".ogg .oga .opus", "", TYPE_BARE},
    {"audio/wav", TYPE_AUDIO, ".wav", "audio/x-wav audio/vnd.wave", TYPE_BARE},
    {"audio/flac", TYPE_AUDIO, ".flac", "audio/x-flac", TYPE_BARE},

    {"video/mp4", TYPE_VIDEO, ".mp4 .m4v", "application/mp4", TYPE_BARE},
    {"video/webm", TYPE_VIDEO, ".webm", "", TYPE_BARE},
    {"video/quicktime", TYPE_VIDEO, ".mov .qt", "", TYPE_BARE},
    {"video/x-matroska", TYPE_VIDEO, ".mkv", "video/matroska", TYPE_BARE},
    {"video/x-msvideo", TYPE_VIDEO, ".avi", "video/avi", TYPE_BARE},
    {"video/mpeg", TYPE_VIDEO, ".mpg .mpeg .ts", "video/mp2t", TYPE_BARE},
    {"video/x-ms-wmv", TYPE_VIDEO, ".wmv .asf", "video/x-ms-asf", TYPE_BARE},

    {"application/rtf", TYPE_OFFICE, ".rtf", "text/rtf text/richtext application/x-rtf", TYPE_BARE},
    {OOXML "wordprocessingml.document", TYPE_OFFICE, ".docx .dotx", "", TYPE_IN_ZIP},
    {OOXML "spreadsheetml.sheet", TYPE_OFFICE, ".xlsx .xltx", "", TYPE_IN_ZIP},
    {OOXML "presentationml.presentation", TYPE_OFFICE, ".pptx .potx .ppsx", "", TYPE_IN_ZIP},
    {ODF "text", TYPE_OFFICE, ".odt .ott", "", TYPE_IN_ZIP},
    {ODF "spreadsheet", TYPE_OFFICE, ".ods .ots", "", TYPE_IN_ZIP},
    {ODF "presentation", TYPE_OFFICE, ".odp .otp", "", TYPE_IN_ZIP},
    {"application/epub+zip", TYPE_OFFICE, ".epub", "", TYPE_IN_ZIP},

    {"application/x-ole-storage", TYPE_OFFICE_OLD, "", "application/cdfv2 application/x-cdf "
     "application/encrypted application/cdfv2-encrypted application/cdfv2-unknown "
     "application/vnd.ms-office", TYPE_IN_OLE},
    {"application/msword", TYPE_OFFICE_OLD, ".doc .dot",
     "application/vnd.ms-word application/doc application/x-msword", TYPE_IN_OLE},
    {"application/vnd.ms-excel", TYPE_OFFICE_OLD, ".xls .xlt .xla",
     "application/msexcel application/x-msexcel application/x-excel", TYPE_IN_OLE},
    {"application/vnd.ms-powerpoint", TYPE_OFFICE_OLD, ".ppt .pps .pot",
     "application/mspowerpoint", TYPE_IN_OLE},
    {"application/vnd.ms-outlook", TYPE_OFFICE_OLD, ".msg .oft", "", TYPE_IN_OLE},
    {"application/vnd.ms-publisher", TYPE_OFFICE_OLD, ".pub", "application/x-mspublisher",
     TYPE_IN_OLE},
    {"application/onenote", TYPE_OFFICE_OLD, ".one", "application/msonenote", TYPE_BARE},

    {WORD "document" MACROS, TYPE_MACROS, ".docm", "", TYPE_IN_ZIP},
    {WORD "template" MACROS, TYPE_MACROS, ".dotm", "", TYPE_IN_ZIP},
    {EXCEL "sheet" MACROS, TYPE_MACROS, ".xlsm .xltm", EXCEL "template" MACROS, TYPE_IN_ZIP},
    {EXCEL "sheet.binary" MACROS, TYPE_MACROS, ".xlsb", "", TYPE_IN_ZIP},
    {EXCEL "addin" MACROS, TYPE_MACROS, ".xlam", "", TYPE_IN_ZIP},
    {POWER "presentation" MACROS, TYPE_MACROS, ".pptm .potm", "", TYPE_IN_ZIP},
    {POWER "slideshow" MACROS, TYPE_MACROS, ".ppsm", "", TYPE_IN_ZIP},

    {"application/pdf", TYPE_PDF, ".pdf", "application/x-pdf", TYPE_BARE},
    {"text/html", TYPE_HTML, ".html .htm .shtml", "", TYPE_BARE},
    {"application/xhtml+xml", TYPE_HTML, ".xhtml .xht", "", TYPE_BARE},
    {"multipart/related", TYPE_HTML, ".mht .mhtml", "application/x-mimearchive", TYPE_BARE},
    {"image/svg+xml", TYPE_SVG, ".svg", "image/svg", TYPE_BARE},
    {"image/svg+xml", TYPE_SVG, ".svgz", "image/svg+xml-compressed", TYPE_IN_GZIP},

    {"text/javascript", TYPE_SCRIPT, ".js .mjs .cjs", "application/javascript "
     "application/x-javascript application/ecmascript text/ecmascript", TYPE_BARE},
    {"application/hta", TYPE_SCRIPT, ".hta", "", TYPE_BARE},
    {"text/x-shellscript", TYPE_SCRIPT, ".sh .bash .command", "application/x-sh application/x-csh "
     "application/x-shellscript", TYPE_BARE},
    {"text/x-python", TYPE_SCRIPT, ".py .pyw", "text/x-script.python application/x-python",
     TYPE_BARE},
    {"text/x-perl", TYPE_SCRIPT, ".pl .pm", "application/x-perl text/x-script.perl", TYPE_BARE},
    {"text/x-php", TYPE_SCRIPT, ".php .phtml .phar", "application/x-php application/x-httpd-php",
     TYPE_BARE},
    {"text/x-ruby", TYPE_SCRIPT, ".rb", "application/x-ruby text/x-script.ruby", TYPE_BARE},
    {"text/vbscript", TYPE_SCRIPT, ".vbs .vbe .vb .wsf .wsh .wsc .sct .jse", "text/x-vbscript",
     TYPE_BARE},
    {"text/x-msdos-batch", TYPE_SCRIPT, ".bat .cmd", "application/x-bat application/bat",
     TYPE_BARE},
    {"application/x-powershell", TYPE_SCRIPT, ".ps1 .psm1 .psd1", "text/x-powershell", TYPE_BARE},
    {"text/x-ms-regedit", TYPE_SCRIPT, ".reg", "", TYPE_BARE},
    {"application/x-mswinurl", TYPE_SCRIPT, ".url .website", "", TYPE_BARE},
    {"text/x-awk", TYPE_SCRIPT, ".awk .lua .tcl", "text/x-lua text/x-tcl text/x-gawk text/x-nawk",
     TYPE_BARE},

    {"application/zip", TYPE_ARCHIVE, ".zip .zipx",
     "application/x-zip-compressed application/x-zip", TYPE_BARE},
    {"application/gzip", TYPE_ARCHIVE, ".gz .tgz", "application/x-gzip", TYPE_BARE},
    {"application/x-tar", TYPE_ARCHIVE, ".tar", "application/tar application/x-gtar", TYPE_BARE},
    {"application/x-7z-compressed", TYPE_ARCHIVE, ".7z", "", TYPE_BARE},
    {"application/vnd.rar", TYPE_ARCHIVE, ".rar", "application/x-rar application/x-rar-compressed",
     TYPE_BARE},
    {"application/x-bzip2", TYPE_ARCHIVE, ".bz2 .tbz", "application/bzip2 application/x-bzip",
     TYPE_BARE},
    {"application/x-xz", TYPE_ARCHIVE, ".xz .txz .lzma", "application/x-lzma application/x-lzip",
     TYPE_BARE},
    {"application/zstd", TYPE_ARCHIVE, ".zst", "application/x-zstd", TYPE_BARE},
    {"application/x-lz4", TYPE_ARCHIVE, ".lz4", "", TYPE_BARE},
    {"application/x-compress", TYPE_ARCHIVE, ".z", "", TYPE_BARE},
    {"application/vnd.ms-cab-compressed", TYPE_ARCHIVE, ".cab", "application/x-cab", TYPE_BARE},
    {"application/x-iso9660-image", TYPE_ARCHIVE, ".iso .img .udf", "application/x-udf-image "
     "application/x-raw-disk-image", TYPE_BARE},
    {"application/x-virtualbox-vhd", TYPE_ARCHIVE, ".vhd .vhdx",
     "application/x-vhd application/x-vhdx application/x-virtualbox-vhdx", TYPE_BARE},
    {"application/x-apple-diskimage", TYPE_ARCHIVE, ".dmg", "", TYPE_BARE},
    {"application/x-arj", TYPE_ARCHIVE, ".arj .ace", "application/x-ace-compressed", TYPE_BARE},
    {"application/x-lzh-compressed", TYPE_ARCHIVE, ".lzh .lha",
     "application/x-lha application/x-lzh", TYPE_BARE},
    {"application/x-cpio", TYPE_ARCHIVE, ".cpio .a", "application/x-archive", TYPE_BARE},

    {"application/vnd.microsoft.portable-executable", TYPE_EXECUTABLE,
     ".exe .dll .scr .com .cpl .sys .ocx .pif .drv .efi",
     "application/x-dosexec application/x-msdownload application/x-msdos-program "
     "application/x-ms-dos-executable application/x-exe application/exe application/x-winexe",
     TYPE_BARE},
    {"application/x-executable", TYPE_EXECUTABLE, ".elf .bin .run", "application/x-pie-executable "
     "application/x-elf application/x-coredump", TYPE_BARE},
    {"application/x-sharedlib", TYPE_EXECUTABLE, ".so .o .ko", "application/x-object", TYPE_BARE},
    {"application/x-mach-binary", TYPE_EXECUTABLE, ".dylib", "", TYPE_BARE},
    {"application/x-ms-shortcut", TYPE_EXECUTABLE, ".lnk .scf", "", TYPE_BARE},
    {"application/x-msi", TYPE_EXECUTABLE, ".msi .msp .mst", "application/x-ms-installer",
     TYPE_IN_OLE},
    {"application/x-java-applet", TYPE_EXECUTABLE, ".class", "application/java-vm", TYPE_BARE},
    {"application/java-archive", TYPE_EXECUTABLE, ".jar .war .ear", "application/x-java-archive",
     TYPE_IN_ZIP},
    {"application/vnd.android.package-archive", TYPE_EXECUTABLE, ".apk .aab", "", TYPE_IN_ZIP},
    {"application/msix", TYPE_EXECUTABLE, ".msix .appx .appxbundle", "application/appx",
     TYPE_IN_ZIP},
    {"application/x-xpinstall", TYPE_EXECUTABLE, ".xpi .crx", "application/x-chrome-extension",
     TYPE_IN_ZIP},
    {"application/vnd.debian.binary-package", TYPE_EXECUTABLE, ".deb",
     "application/x-debian-package application/x-deb", TYPE_BARE},
    {"application/x-rpm", TYPE_EXECUTABLE, ".rpm", "application/x-redhat-package-manager",
     TYPE_BARE},
    {"application/wasm", TYPE_EXECUTABLE, ".wasm", "", TYPE_BARE},
    {"application/vnd.ms-htmlhelp", TYPE_EXECUTABLE, ".chm", "application/x-chm", TYPE_BARE},
    {"application/x-shockwave-flash", TYPE_EXECUTABLE, ".swf",
     "application/vnd.adobe.flash.movie", TYPE_BARE},
};

/* Types of which nothing else is known. */
static const struct type_row trees[] = {
    {"text/", TYPE_TEXT, "", "", TYPE_BARE},   {"font/", TYPE_FONT, "", "", TYPE_BARE},
    {"image/", TYPE_IMAGE, "", "", TYPE_BARE}, {"audio/", TYPE_AUDIO, "", "", TYPE_BARE},
    {"video/", TYPE_VIDEO, "", "", TYPE_BARE},
};
/* clang-format on */

/* |word| is one of the words of |list|. */
static bool has_word(const char *list, struct span word)
{
    struct span rest = span_of(list);

    while (rest.n)
        if (span_ieq(span_cut(&rest, ' '), word))
            return true;
    return false;
}

static const struct type_row *find(struct span type)
{
    for (size_t i = 0; i < ARRAY_LEN(rows); i++)
        if (span_ieq(type, span_of(rows[i].type)) || has_word(rows[i].aliases, type))
            return &rows[i];
    return NULL;
}

const struct type_row *type_find(struct span type)
{
    const struct type_row *found = type.n ? find(type) : NULL;

    for (size_t i = 0; i < ARRAY_LEN(trees) && !found; i++)
        if (span_istarts(type, span_of(trees[i].type)))
            found = &trees[i];
    return found;
}

const struct type_row *type_of_extension(struct span extension)
{
    for (size_t i = 0; i < ARRAY_LEN(rows) && extension.n; i++)
        if (has_word(rows[i].extensions, extension))
            return &rows[i];
    return NULL;
}

const struct type_row *type_recall(struct type_memo *m, struct span name)
{
    const struct type_row *row;

    for (unsigned i = 0; i < TYPE_MEMO && name.n; i++)
        if (span_eq(name, span_of(m->v[i].name)))
            return m->v[i].row;
    row = span_starts(name, SPAN(".")) ? type_of_extension(name) : type_find(name);
    m->n_lookups += name.n > 0;
    if (name.n == 0 || name.n >= sizeof m->v[0].name || span_find(name, '\0') < name.n)
        return row;
    (void)span_copy(name, m->v[m->next].name, sizeof m->v[0].name);
    m->v[m->next].row = row;
    m->next = (m->next + 1) % TYPE_MEMO;
    return row;
}

bool type_has_name(const struct type_row *row, struct span pattern)
{
    return glob_match(pattern, span_of(row->type)) || has_word(row->aliases, pattern);
}

const char *type_family_word(enum type_family f)
{
    static const char *const words[] = {
        [TYPE_TEXT] = "text",       [TYPE_FONT] = "font",
        [TYPE_IMAGE] = "image",     [TYPE_AUDIO] = "audio",
        [TYPE_VIDEO] = "video",     [TYPE_OFFICE] = "office",
        [TYPE_MACROS] = "macros",   [TYPE_OFFICE_OLD] = "office",
        [TYPE_PDF] = "pdf",         [TYPE_HTML] = "html",
        [TYPE_SVG] = "svg",         [TYPE_SCRIPT] = "script",
        [TYPE_ARCHIVE] = "archive", [TYPE_EXECUTABLE] = "executable",
    };

    return words[f];
}
